"""The configuration files of Prometheus and Alertmanager, as YAML."""

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from core.errors import ConfigError
from core.ports import ALERTMANAGER_PORT
from provisioning.converge.resources import Secret
from provisioning.roles.monitoring.targets import Target
from serving.spec.monitoring_fields import AlertsSpec, EmailAlerts, webhook_url

HEAD = "# Written by llm-deploy (monitoring role); edits are lost.\n"

SCRAPE_S = 15


def prometheus_config(targets: Sequence[Target], rules: str, *, alerts: bool, scrape_s: int = SCRAPE_S) -> str:
    """Return prometheus.yml, which reads `targets` and the file `rules`."""
    jobs = dict.fromkeys(target.job for target in targets)
    config: dict[str, Any] = {
        "global": {"scrape_interval": f"{scrape_s}s", "evaluation_interval": f"{scrape_s}s"},
        "rule_files": [rules],
        "scrape_configs": [_job(job, targets) for job in jobs],
    }
    if alerts:
        managers = [{"targets": [f"127.0.0.1:{ALERTMANAGER_PORT}"]}]
        config["alerting"] = {"alertmanagers": [{"static_configs": managers}]}
    return HEAD + yaml.safe_dump(config, sort_keys=False)


def _job(job: str, targets: Sequence[Target]) -> dict[str, Any]:
    """Return the part of one job. A host's metrics must not say that they are about another host."""
    static = [
        {"targets": [target.address], "labels": {"host": target.host, "__metrics_path__": target.path}}
        for target in targets
        if target.job == job
    ]
    return {"job_name": job, "static_configs": static}


def alertmanager_config(alerts: AlertsSpec, stack: str) -> Secret:
    """Return alertmanager.yml with its secrets. Raises ConfigError if a secret is missing or cannot be used."""
    receiver: dict[str, Any] = {"name": "default"}
    if alerts.webhook is not None or alerts.webhook_from is not None:
        receiver["webhook_configs"] = [_webhook(alerts)]
    if alerts.email is not None:
        receiver["email_configs"] = list(_mails(alerts.email, stack))
    config = {
        "route": {
            "receiver": "default",
            "group_by": ["alertname", "host"],
            "group_wait": "10s",
            "group_interval": "5m",
            "repeat_interval": "4h",
        },
        # If the gateway is down, nothing else about it is news.
        "inhibit_rules": [
            {"source_match": {"alertname": "GatewayDown"}, "target_match": {"severity": "warning"}, "equal": ["host"]}
        ],
        "receivers": [receiver],
    }
    return Secret(HEAD + yaml.safe_dump(config, sort_keys=False))


def _webhook(alerts: AlertsSpec) -> dict[str, Any]:
    """Return the webhook."""
    url = alerts.webhook or ""
    if alerts.webhook_from is not None:
        url = alerts.webhook_from.read().get_secret_value()
        try:
            webhook_url(url, may_be_secret=True)
        except ValueError as error:
            what, _, hint = str(error).partition("; ")
            raise ConfigError(f"holds text that {what}", where="gateway.alerts.webhook_from", hint=hint) from None
    webhook: dict[str, Any] = {"url": url, "send_resolved": True}
    if alerts.webhook_token is not None:
        token = alerts.webhook_token.read().get_secret_value()
        webhook["http_config"] = {"authorization": {"type": "Bearer", "credentials": token}}
    return webhook


def _mails(email: EmailAlerts, stack: str) -> Iterator[dict[str, Any]]:
    """Yield one mail for each address, so that no receiver sees the others."""
    for address in email.to:
        mail: dict[str, Any] = {
            "to": address,
            "from": email.sender,
            "smarthost": email.server,
            "require_tls": not email.on_loopback,
            "send_resolved": True,
            "headers": {"Subject": f"[{stack}] {{{{ .Status }}}}: {{{{ .CommonLabels.alertname }}}}"},
        }
        if email.user is not None and email.password is not None:
            mail["auth_username"] = email.user
            mail["auth_password"] = email.password.read().get_secret_value()
        yield mail
