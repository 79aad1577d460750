"""The part of GCP's REST that our own commands call: Compute, Storage, IAM, Resource Manager, Service Usage, billing.

What is made through it is made by the plugin's double; here things are looked at, listed and removed.
"""

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, unquote

from tests.doubles.gcp import seed
from tests.doubles.gcp.places import Places
from tests.doubles.gcp.refusal import Refusal, missing
from tests.doubles.gcp.rules import stock
from tests.doubles.gcp.store import Store, parts, place

TOKEN = "testing"  # what the double hands out, and wants to see again

APIS = {
    "compute.googleapis.com": re.compile("/compute/"),
    "cloudbilling.googleapis.com": re.compile(r"/v1/projects/[^/]+/billingInfo"),
    "monitoring.googleapis.com": re.compile(r"/v3/projects/[^/]+/notificationChannels"),
    "vpcaccess.googleapis.com": re.compile(r"/v1/projects/[^/]+/locations/-/connectors"),
}
"""Paths of APIs that a project may not have enabled."""

COUNTED_BY_THEMSELVES = ("/compute/", "/storage/")
"""Paths of APIs whose calls count on the project of the requested resource."""

JWT_DOTS = 2

NO_STOCK = "operation-without-stock"
FAILED = "operation-failed"
"""Name of every operation that was accepted and then failed."""

Params = dict[str, str]
Handler = Callable[..., Any]


class Rest:
    """A WSGI application."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._stock_error = ""
        places = Places(store)
        project = r"projects/(?P<project>[^/:]+)"
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = [
            (method, re.compile(pattern.replace("PROJECT", project)), handler)
            for method, pattern, handler in (
                ("POST", "/token", self._token),
                ("GET", "/compute/v1/PROJECT", places.project),
                ("GET", "/compute/v1/PROJECT/regions/(?P<name>[^/]+)", places.region),
                ("GET", "/compute/v1/PROJECT/zones", places.zones),
                ("GET", "/compute/v1/PROJECT/global/images/family/(?P<family>[^/]+)", places.image_of_family),
                ("GET", "/compute/v1/PROJECT/global/images/(?P<name>[^/]+)", places.image),
                ("GET", "/compute/v1/PROJECT/aggregated/machineTypes", places.machine_types),
                ("GET", "/compute/v1/PROJECT/aggregated/acceleratorTypes", places.accelerator_types),
                ("GET", "/compute/v1/PROJECT/aggregated/(?P<collection>[^/]+)", self._aggregated),
                ("GET", "/compute/v1/PROJECT/global/(?P<collection>[^/]+)", self._listed),
                ("GET", "/compute/v1/(?P<path>PROJECT/global/networks/[^/]+)/getEffectiveFirewalls", self._effective),
                ("GET", "/compute/v1/PROJECT/.+/operations/(?P<name>[^/]+)", self._operation),
                ("POST", "/compute/v1/(?P<path>PROJECT/zones/[^/]+/instances/[^/]+)/(?:start|resume)", self._start),
                ("GET", "/compute/v1/(?P<path>PROJECT/.+/.+)", self._get),
                ("DELETE", "/compute/v1/(?P<path>PROJECT/.+/.+)", self._delete),
                ("GET", "/v1/PROJECT/serviceAccounts", self._accounts),
                ("DELETE", "/v1/(?P<path>PROJECT/serviceAccounts/.+)", self._delete),
                ("GET", "/v3/PROJECT", self._project),
                ("POST", "/v1/PROJECT:getEffectiveOrgPolicy", self._org_policy),
                ("POST", "/v3/PROJECT:getIamPolicy", self._policy),
                ("POST", "/v3/PROJECT:setIamPolicy", self._set_policy),
                ("GET", "/v1/PROJECT/services/(?P<name>[^/]+)", self._service),
                ("GET", "/v1/PROJECT/locations/-/connectors", self._connectors),
                ("GET", "/storage/v1/b", self._buckets),
                ("GET", "/storage/v1/(?P<path>b/[^/]+)", self._get),
                ("GET", "/storage/v1/(?P<path>b/[^/]+/o)", self._objects),
                ("DELETE", "/storage/v1/(?P<path>b/.+)", self._delete),
                ("GET", "/v1/PROJECT/billingInfo", self._billing),
                ("GET", "/v1/billingAccounts/(?P<account>[^/]+)", self._account),
                ("GET", "/v1/(?P<path>billingAccounts/[^/]+/budgets)", self._under),
                ("DELETE", "/v1/(?P<path>billingAccounts/[^/]+/budgets/.+)", self._delete),
                ("GET", "/v3/(?P<path>PROJECT/notificationChannels)", self._under),
                ("DELETE", "/v3/(?P<path>PROJECT/notificationChannels/.+)", self._delete),
            )
        ]

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(length) if length else b""
        params = {key: values[0] for key, values in parse_qs(environ.get("QUERY_STRING", "")).items()}
        try:
            answer = self._answer(environ["REQUEST_METHOD"], environ["PATH_INFO"], body, params, environ)
        except Refusal as refusal:
            start_response(f"{refusal.status} Refused", [("Content-Type", "application/json")])
            errors = [{"reason": refusal.reason, "message": refusal.message}]
            error = {"code": refusal.status, "message": refusal.message, "errors": errors}
            return [json.dumps({"error": error if refusal.reason != "invalid_grant" else refusal.reason}).encode()]
        start_response("200 OK", [("Content-Type", "application/json")])
        return [json.dumps(answer).encode()]

    def _answer(self, method: str, path: str, body: bytes, params: Params, environ: dict[str, Any]) -> Any:
        for wanted, pattern, handler in self._routes:
            found = pattern.fullmatch(path)
            if found and method == wanted:
                if handler != self._token:
                    self._check_caller(path, found.groupdict().get("project"), environ)
                return handler(body=body, params=params, **found.groupdict())
        raise Refusal(501, "notImplemented", f"the double does not know {method} {path}; see tests/doubles/README.md")

    def _check_caller(self, path: str, project: str | None, environ: dict[str, Any]) -> None:
        """Raise Refusal for a caller without the token, for others' projects, for APIs that are not enabled."""
        kind, _space, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        signed = token.count(".") == JWT_DOTS  # Google's client signs for itself where a service account is logged in
        if kind != "Bearer" or not (token == TOKEN or signed) or self._store.settings.login != "good":
            raise Refusal(401, "authError", "Request had invalid authentication credentials.")
        public = project in seed.IMAGES and "/global/images/" in path
        if project is not None and project != seed.PROJECT and not public:
            message = f"The caller does not have permission on project {project}, or it may not exist."
            raise Refusal(403, "forbidden", message)
        self._check_quota_project(path, environ.get("HTTP_X_GOOG_USER_PROJECT", ""))
        if any(re.search(each, path) for each in self._store.settings.denied):
            raise Refusal(403, "forbidden", f"Required permission for {path}")
        for api, pattern in APIS.items():
            if api in self._store.settings.disabled and pattern.match(path):
                raise Refusal(403, "accessNotConfigured", f"API {api} has not been used in project before.")

    def _check_quota_project(self, path: str, named: str) -> None:
        """Raise Refusal for a call that names no project to count on where it must, or one that it may not use."""
        if self._store.settings.quota_project == "refused" and named:
            message = (
                f"Caller does not have required permission to use project {named}. Grant the caller the "
                "roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use "
                "permission"
            )
            raise Refusal(403, "USER_PROJECT_DENIED", message)
        if self._store.settings.quota_project and not named and not path.startswith(COUNTED_BY_THEMSELVES):
            message = (
                "Your application is authenticating by using local Application Default Credentials. The "
                "cloudresourcemanager.googleapis.com API requires a quota project, which is not set by default."
            )
            raise Refusal(403, "forbidden", message)

    def _token(self, **_given: Any) -> Any:
        if self._store.settings.login == "expired":
            raise Refusal(400, "invalid_grant", "Token has been expired or revoked.")
        return {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}

    def _aggregated(self, *, collection: str, params: Params, **_given: Any) -> Any:
        scopes: dict[str, Any] = {}
        wanted = re.fullmatch(r'labels\.([\w-]+) = "([^"]*)"', params.get("filter", ""))
        for path, body in self._store.of(collection, look=True).items():
            if wanted is None or body.get("labels", {}).get(wanted[1]) == wanted[2]:
                kind, where = "zones" if "/zones/" in path else "regions", place(path)
                scope = "global" if where == "global" else f"{kind}/{where}"
                listed = scopes.setdefault(scope, {}).setdefault(collection, [])
                listed.append(_shown(path, body))
        return {"items": scopes}

    def _listed(self, *, collection: str, **_given: Any) -> Any:
        return {"items": [_shown(path, body) for path, body in self._store.of(collection).items()]}

    def _effective(self, *, path: str, **_given: Any) -> Any:
        """Answer with the rules of a network; of policies, which come from elsewhere, with those that a test wants."""
        found = self._store.of("firewalls").items()
        rules = [_shown(key, body) for key, body in found if body["network"] == path]
        return {"firewalls": rules, "firewallPolicys": self._store.settings.policies}

    def _get(self, *, path: str, **_given: Any) -> Any:
        return _shown(path, self._store.get(path))

    def _start(self, *, path: str, **_given: Any) -> Any:
        def begin(body: dict[str, Any]) -> None:
            stock.check(self._store, path, body)
            body["status"] = "RUNNING"

        try:
            self._store.change(path, "start", begin)
        except Refusal as refusal:
            if not refusal.late:
                raise
            self._stock_error = refusal.message
            return {"name": NO_STOCK, "status": "PENDING"}
        return {"name": "operation-1", "status": "PENDING"}

    def _delete(self, *, path: str, **_given: Any) -> Any:
        action = f"{parts(path)[0]}.delete"
        if self._store.settings.failing.get(action, 0):
            self._store.calls.append(action)
            self._store.settings.failing[action] -= 1
            return {"name": FAILED, "status": "PENDING"}
        self._store.delete(unquote(path), waits=False)
        return {"name": "operation-1", "status": "PENDING"}

    def _operation(self, *, name: str, **_given: Any) -> Any:
        failures = {FAILED: "Internal error. Please try again.", NO_STOCK: self._stock_error}
        errors = [{"code": "INTERNAL_ERROR", "message": failures[name]}] if name in failures else []
        return {"name": name, "status": "DONE", "error": {"errors": errors}}

    def _under(self, *, path: str, **_given: Any) -> Any:
        collection = parts(f"{path}/x")[0]
        found = self._store.of(collection).items()
        return {collection: [{**body, "name": key} for key, body in found if key.startswith(f"{path}/")]}

    def _accounts(self, **_given: Any) -> Any:
        found = self._store.of("serviceAccounts").items()
        return {"accounts": [{**body, "name": path} for path, body in found]}

    def _project(self, **_given: Any) -> Any:
        return {"name": f"projects/{seed.NUMBER}", "projectId": seed.PROJECT, "state": "ACTIVE"}

    def _policy(self, **_given: Any) -> Any:
        policy = json.loads(json.dumps(self._store.policy))
        if not self._store.settings.agent_may_start:
            policy["bindings"] = [each for each in policy["bindings"] if seed.AGENT not in each["members"]]
        return policy

    def _org_policy(self, *, body: bytes, **_given: Any) -> Any:
        policies, constraint = self._store.settings.org_policies, json.loads(body)["constraint"]
        if policies is None:
            message = "Permission 'orgpolicy.policy.get' denied on resource 'projects/...' (or it may not exist)."
            raise Refusal(403, "forbidden", message)
        return {"constraint": constraint, **policies.get(constraint.removeprefix("constraints/"), {})}

    def _set_policy(self, *, body: bytes, **_given: Any) -> Any:
        with self._store.action("projects.setIamPolicy"):
            self._store.policy = json.loads(body)["policy"]
        return self._store.policy

    def _service(self, *, name: str, **_given: Any) -> Any:
        enabled = name in seed.SERVICES and name not in self._store.settings.disabled
        return {"name": name, "state": "ENABLED" if enabled else "DISABLED"}

    def _connectors(self, **_given: Any) -> Any:
        """Answer as Serverless VPC Access does, which names a network without its project."""
        found = self._store.of("connectors").items()
        return {"connectors": [{**body, "name": path, "network": parts(body["network"])[1]} for path, body in found]}

    def _buckets(self, **_given: Any) -> Any:
        return {"items": [{**body, "name": parts(path)[1]} for path, body in self._store.of("b").items()]}

    def _objects(self, *, path: str, **_given: Any) -> Any:
        found = self._store.resources.items()
        return {"items": [{**body, "generation": "1"} for key, body in found if key.startswith(f"{path}/")]}

    def _billing(self, **_given: Any) -> Any:
        return {"billingAccountName": f"billingAccounts/{seed.BILLING_ACCOUNT}", "billingEnabled": True}

    def _account(self, *, account: str, **_given: Any) -> Any:
        if account != seed.BILLING_ACCOUNT:
            raise Refusal(403, "forbidden", f"The caller does not have permission on billing account {account}.")
        return {"name": f"billingAccounts/{account}", "open": True, "currencyCode": self._store.settings.currency}


def _shown(path: str, body: dict[str, Any]) -> dict[str, Any]:
    """Return a body as it is sent: references as full addresses."""
    shown = {**body, "selfLink": f"https://www.googleapis.com/compute/v1/{path}"}
    if "network" in body:
        shown["network"] = f"https://www.googleapis.com/compute/v1/{body['network']}"
    if "users" in body:
        shown["users"] = [f"https://www.googleapis.com/compute/v1/{each}" for each in body["users"]]
    if not path.startswith(("projects/", "b/")):
        raise missing(path)
    return shown
