"""A monthly budget of the project with a warning by mail: it warns and stops nothing."""

from dataclasses import dataclass

import pulumi
import pulumi_gcp as gcp

from infra.config.models.lifetime import BudgetSpec

WARNINGS = (("CURRENT_SPEND", 0.8), ("FORECASTED_SPEND", 1.0))
"""Mail is sent when this share of the budget is spent or forecast."""

NANOS = 1_000_000_000


@dataclass(frozen=True, kw_only=True)
class BudgetArgs:
    """Arguments of the budget."""

    physical_name: str
    project: str
    spec: BudgetSpec


def budget(name: str, args: BudgetArgs, opts: pulumi.ResourceOptions) -> gcp.billing.Budget:
    """Return the budget."""
    spec = args.spec
    mail = gcp.monitoring.NotificationChannel(
        name, display_name=args.physical_name, type="email", labels={"email_address": spec.mail}, opts=opts
    )
    units, nanos = divmod(round(spec.usd_per_month * NANOS), NANOS)
    return gcp.billing.Budget(
        name,
        billing_account=str(spec.billing_account),
        display_name=args.physical_name,
        budget_filter={"projects": [f"projects/{args.project}"]},
        amount={"specified_amount": {"currency_code": "USD", "units": str(units), "nanos": nanos}},
        threshold_rules=[{"spend_basis": basis, "threshold_percent": share} for basis, share in WARNINGS],
        all_updates_rule={"monitoring_notification_channels": [mail.name], "disable_default_iam_recipients": True},
        opts=opts,
    )
