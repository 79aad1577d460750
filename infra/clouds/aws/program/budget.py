"""A monthly budget with a warning by mail: it warns and stops nothing.

It counts the whole account: AWS counts by tag only after the tag is activated in the billing console, and until then a
budget by tag would never warn.
"""

import pulumi
import pulumi_aws as aws

from infra.config.models.lifetime import BudgetSpec

WARNINGS = (("ACTUAL", 80), ("FORECASTED", 100))
"""Mail is sent when this share of the budget, in percent, is spent or forecast."""


def budget(name: str, physical_name: str, spec: BudgetSpec, opts: pulumi.ResourceOptions) -> aws.budgets.Budget:
    """Return the budget."""
    return aws.budgets.Budget(
        name,
        name=physical_name,
        budget_type="COST",
        time_unit="MONTHLY",
        limit_amount=f"{spec.usd_per_month:.2f}",
        limit_unit="USD",
        notifications=[
            {
                "comparison_operator": "GREATER_THAN",
                "notification_type": kind,
                "threshold": percent,
                "threshold_type": "PERCENTAGE",
                "subscriber_email_addresses": [spec.mail],
            }
            for kind, percent in WARNINGS
        ],
        opts=opts,
    )
