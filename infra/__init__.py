"""The Pulumi program and what surrounds it: stack config in, hosts and serving spec out. No SSH, no engine flags."""
