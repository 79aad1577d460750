"""What goes into the Pulumi program and what comes out: placement, deployment, outputs.

Values only; nothing is created here.
"""
