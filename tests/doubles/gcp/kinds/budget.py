"""Budgets, and the recipients of their mails."""

from tests.doubles.gcp.client import Gcp
from tests.doubles.provider.kind import CloudError, Kind, Rules
from tests.doubles.provider.values import Properties


class Budget(Kind[Gcp]):
    token = "gcp:billing/budget:Budget"
    rules = Rules(immutable=frozenset({"billingAccount"}))

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        path = f"billingAccounts/{inputs['billingAccount']}/budgets/{inputs['displayName']}"
        cloud.insert(path, {"displayName": inputs["displayName"], "amount": inputs["amount"]}, "Budget")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        return seen and {"displayName": seen["displayName"], "amount": seen["amount"], "name": identity}

    def update(self, cloud: Gcp, identity: str, old: Properties, new: Properties) -> None:
        cloud.change(identity, "patch", lambda body: body.update(amount=new["amount"]), "Budget")

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        cloud.delete(identity, "Budget")


class NotificationChannel(Kind[Gcp]):
    token = "gcp:monitoring/notificationChannel:NotificationChannel"
    rules = Rules(immutable=frozenset({"type", "project"}))

    def create(self, cloud: Gcp, inputs: Properties) -> str:
        if inputs["type"] != "email":
            raise CloudError("the double knows channels of type email only")
        path = f"projects/{cloud.project}/notificationChannels/{inputs['displayName']}"
        body = {"displayName": inputs["displayName"], "addressed": inputs["labels"]}
        cloud.insert(path, body, "NotificationChannel")
        return path

    def read(self, cloud: Gcp, identity: str, state: Properties) -> Properties | None:
        seen = cloud.found(identity)
        return seen and {"displayName": seen["displayName"], "labels": seen["addressed"], "name": identity}

    def update(self, cloud: Gcp, identity: str, old: Properties, new: Properties) -> None:
        cloud.change(identity, "patch", lambda body: body.update(addressed=new["labels"]), "NotificationChannel")

    def delete(self, cloud: Gcp, identity: str, state: Properties) -> None:
        cloud.delete(identity, "NotificationChannel")
