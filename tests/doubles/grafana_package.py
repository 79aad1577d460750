"""A Debian package `grafana` with a small stand-in, since no package source of the tests has Grafana.

Paths, unit, variables, scripts and flags are those of Grafana's own package (packaging/deb in its repository). The
program reads grafana.ini with `$__file{}`, keeps the admin's password in its database as Grafana does, and serves what
it was given.
"""

import subprocess
from pathlib import Path

UNIT = """[Unit]
Description=Grafana instance
Wants=network-online.target
After=network-online.target

[Service]
EnvironmentFile=/etc/default/grafana-server
User=grafana
Group=grafana
Type=simple
Restart=on-failure
WorkingDirectory=/usr/share/grafana
RuntimeDirectory=grafana
RuntimeDirectoryMode=0750
ExecStart=/usr/share/grafana/bin/grafana server --config=${CONF_FILE} --pidfile=${PID_FILE_DIR}/grafana-server.pid \\
  --packaging=deb cfg:default.paths.logs=${LOG_DIR} cfg:default.paths.data=${DATA_DIR} \\
  cfg:default.paths.plugins=${PLUGINS_DIR} cfg:default.paths.provisioning=${PROVISIONING_CFG_DIR}
PrivateUsers=true
UMask=0027

[Install]
WantedBy=multi-user.target
"""

DEFAULTS = """GRAFANA_USER=grafana
DATA_DIR=/var/lib/grafana
LOG_DIR=/var/log/grafana
CONF_FILE=/etc/grafana/grafana.ini
PLUGINS_DIR=/var/lib/grafana/plugins
PROVISIONING_CFG_DIR=/etc/grafana/provisioning
PID_FILE_DIR=/run/grafana
"""

AFTER_UNPACKING = """#!/bin/sh
set -e
id grafana >/dev/null 2>&1 || adduser --system --group --no-create-home --home /usr/share/grafana grafana
mkdir -p /var/lib/grafana /var/log/grafana
chown grafana:grafana /var/lib/grafana /var/log/grafana
systemctl daemon-reload || true
"""

PROGRAM = r"""#!/usr/bin/python3
import base64, configparser, glob, http.server, json, os, re, sys

def value(section, key):
    text = config[section][key]
    return re.sub(r"\$__file\{([^}]+)\}", lambda found: open(found[1]).read().strip(), text)

words = sys.argv[1:]
path = [word for word in words if word.startswith("--config=")]
path = path[0].partition("=")[2] if path else words[words.index("--config") + 1]
config = configparser.ConfigParser(interpolation=None)
assert config.read(path), path
data = value("paths", "data")
database = data + "/grafana.db"
if words[0] == "cli":
    assert words[-2:] == ["reset-admin-password", "--password-from-stdin"], words
    open(database, "w").write(sys.stdin.readline().strip())
    sys.exit("Admin password changed successfully" and 0)
if not os.path.exists(database):
    open(database, "w").write(value("security", "admin_password"))
assert value("security", "secret_key") != "SW2YcwTIb9zpOOhoPsMm"

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        login = base64.b64encode(b"admin:" + open(database, "rb").read()).decode()
        allowed = self.path == "/api/health" or self.headers.get("Authorization") == "Basic " + login
        provisioning = value("paths", "provisioning")
        dashboards = glob.glob(os.path.dirname(provisioning) + "/dashboards/*.json")
        found = {
            "dashboards": sorted(json.load(open(each))["uid"] for each in dashboards),
            "files": sorted(glob.glob(provisioning + "/*/*.yaml")),
            "memory": os.environ.get("GOMEMLIMIT"),
        }
        text = json.dumps(found if allowed else {}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)
    def log_message(self, *words):
        pass

address = (value("server", "http_addr"), int(value("server", "http_port")))
http.server.HTTPServer(address, Handler).serve_forever()
"""


def grafana_package(folder: Path, *, version: str = "12.0.0", arch: str = "amd64", name: str = "grafana") -> Path:
    """Return a package that was built in `folder`."""
    root = folder / f"{name}-{version}-{arch}"
    content = {
        "DEBIAN/control": f"Package: {name}\nVersion: {version}\nArchitecture: {arch}\n"
        "Maintainer: none <none@localhost>\nDepends: adduser\nDescription: stand-in for Grafana\n",
        "DEBIAN/conffiles": "/etc/default/grafana-server\n",
        "DEBIAN/postinst": AFTER_UNPACKING,
        "usr/lib/systemd/system/grafana-server.service": UNIT,
        "etc/default/grafana-server": DEFAULTS,
        "usr/share/grafana/bin/grafana": PROGRAM,
    }
    for place, text in content.items():
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755 if place in ("DEBIAN/postinst", "usr/share/grafana/bin/grafana") else 0o644)
    built = folder / f"{root.name}.deb"
    argv = ("dpkg-deb", "--root-owner-group", "--build", str(root), str(built))
    subprocess.run(argv, check=True, capture_output=True)
    return built
