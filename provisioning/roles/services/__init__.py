"""Our own programs that stay running on a host: their files, users and units. The programs are in `services/`."""
