"""The check that runs before new sshd settings are loaded. It is a script, and its errors say what to write instead.

sshd itself tests the new file together with the others. The rest of the script finds other people's logins that would
end: the controller's own login by key does not show that.
"""

FOLDER = "[ -d /run/sshd ] || mkdir -m 0755 /run/sshd\n"
"""`sshd -t` needs the folder, which exists only while the service runs, so not if a socket starts it."""

_SAY = r"""new=$1
say() { printf '%s\n' "$*" >&2; exit 1; }
files_of_sshd() {
  files=$(ls -d /etc/ssh/sshd_config /etc/ssh/sshd_config.d/*.conf 2>/dev/null | sort -u)
  while :; do
    more=$({
      echo "$files"
      sed -nE 's/^[[:space:]]*[Ii][Nn][Cc][Ll][Uu][Dd][Ee][[:space:]=]+//p' $files 2>/dev/null |
        tr -d '"' | tr -s '[:space:]' '\n' | while read -r each; do
          case $each in /*) ;; *) each=/etc/ssh/$each ;; esac
          ls -d $each 2>/dev/null
        done
    } | sort -u)
    [ "$more" != "$files" ] || break
    files=$more
  done
  echo "$files"
}
"""
"""`files_of_sshd` prints the files that sshd reads; an included file may include others."""

_KEEP = "write password_logins: true on this host in the inventory"

_NO_SECOND_FACTOR = rf"""
asked='^[[:space:]]*AuthenticationMethods[[:space:]="].*(password|keyboard-interactive)'
factors=$(grep -hiE "$asked" $(files_of_sshd) 2>/dev/null | sort -u)
[ -z "$factors" ] || say "sshd asks for a password too ($factors), and this file turns passwords off; {_KEEP}"
"""

_NOBODY_BY_WORD = rf"""
people=$(journalctl -q -t sshd -t sshd-session --since '-7 days' -o cat 2>/dev/null |
  sed -n 's/^Accepted \([a-z/-]*\) for \([^ ]*\) from .*/\2 \1/p' |
  awk '{{last[$1] = $2}} END {{for (user in last) if (last[user] ~ /^(password|keyboard-)/) print user}}' |
  sort | tr '\n' ' ')
[ -z "$people" ] || say "this file turns off passwords, and these users last logged in with one: ${{people% }};" \
  "let them log in by key once, or {_KEEP}"
"""
"""A week covers what an operator remembers."""

_READ_FIRST = r"""
merged() { cat "$new" /etc/ssh/sshd_config; }
merged | /usr/sbin/sshd -t -f /dev/stdin || exit 1
"""
_READ_LAST = r"""
merged() { cat /etc/ssh/sshd_config "$new"; }
merged | /usr/sbin/sshd -t -f /dev/stdin || exit 1
"""

_SAME_PORTS = r"""
named=$(merged | /usr/sbin/sshd -T -f /dev/stdin |
  sed -n 's/^listenaddress //p' | sed 's/%[^]]*//')
ss -Hltnp | awk '/"sshd"/ && !/"systemd"/ && $4 !~ /^(127\.|\[::1\])/ {print $4, $NF}' |
  sed -n 's/^\([^ ]*\) .*"sshd",pid=\([0-9]*\).*/\1 \2/p' | while read -r at pid; do
  case $at in \[*) all="[::]" ;; \**) all="[::] 0.0.0.0" ;; *) all=0.0.0.0 ;; esac
  for each in "$(echo "$at" | sed 's/%.*:/:/')" $(printf "%s:${at##*:} " $all); do
    echo "$named" | grep -qxF "$each" && continue 2
  done
  tr '\0' ' ' <"/proc/$pid/cmdline" | grep -qE ' -(p|o|f)' && continue
  say "sshd listens on $at, and its files name $(echo $named): a reload would move it;" \
    "reload sshd when that suits, and write the port as ssh_port in the inventory"
done || exit 1
"""
"""Our reload would put a Port or ListenAddress into force that somebody wrote and has not loaded yet.

Compares listeners with the addresses that `sshd -T` prints, because its `port` is 22 if only ListenAddress has a port.
Three kinds of listeners do not count: those on loopback are for tunnels, those that systemd holds belong to its socket,
and a port on sshd's command line stays.
"""


_RESTRICTS_LISTED = r"""
restricts='AllowUsers|AllowGroups|DenyUsers|DenyGroups'
"""
"""Keywords that the clouds' agents do not write."""
_RESTRICTS_LOGINS = r"""
restricts='AllowUsers|AllowGroups|DenyUsers|DenyGroups|PermitRootLogin|PubkeyAuthentication'
restricts="$restricts|AuthorizedKeysFile|AuthorizedKeysCommand|AuthenticationMethods"
"""
_NOBODY_BY_RELOAD = r"""
began=$(merged | /usr/sbin/sshd -T -f /dev/stdin 2>/dev/null | sed -n 's/^pidfile //p')
if [ -f "$began" ] && [ -d "/proc/$(cat "$began")" ]; then
  for file in $(files_of_sshd | grep -vE '/[0-9]+-llm-[a-z]+\.conf$'); do
    [ -n "$(find -L "$file" -maxdepth 0 -type f -newercm "$began")" ] || continue
    words=$(grep -iE "^[[:space:]]*($restricts)[[:space:]=\"]" "$file" | sed 's/^[[:space:]]*//' | paste -sd ';' -)
    [ -z "$words" ] || say "$file was changed after sshd read it, and a reload brings it into force ($words);" \
      "run \`systemctl reload ssh\` on the host when that suits, or remove the lines"
  done
fi
"""
"""Our reload must not change who may log in: lines that somebody wrote and has not loaded yet are refused.

sshd writes its PidFile each time it has read its files: at the start, and again after SIGHUP. The change time of a file
counts, since a copied file may keep an older modification time. Our own files are left out: a run that was cut off may
not have loaded them.
"""


def first_file_check(*, keys_only: bool, people_work_there: bool) -> tuple[str, ...]:
    """Return the check of a file that sshd reads before all other files."""
    parts = [FOLDER, _SAY]
    parts += [_NO_SECOND_FACTOR] if keys_only else []
    parts += [_NOBODY_BY_WORD] if keys_only and people_work_there else []
    parts += [_READ_FIRST, _SAME_PORTS]
    parts += [_RESTRICTS_LOGINS if people_work_there else _RESTRICTS_LISTED, _NOBODY_BY_RELOAD]
    return ("sh", "-c", "".join(parts), "sshd", "{path}")


_LAST = (FOLDER, _SAY, _READ_LAST, _SAME_PORTS, _RESTRICTS_LOGINS, _NOBODY_BY_RELOAD)


def last_file_check() -> tuple[str, ...]:
    """Return the check of a file with a Match block, which extends to the end of all that sshd reads.

    Such a file is for hosts that existed before, where people may work.
    """
    return ("sh", "-c", "".join(_LAST), "sshd", "{path}")
