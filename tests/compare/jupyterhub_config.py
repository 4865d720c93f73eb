"""JupyterHub as the differential test runs it; hubd.toml beside this file says the same for hubd."""

from jupyterhub.proxy import Proxy


class Remembering(Proxy):
    """No proxy: the routes are only remembered."""

    should_start = False
    table = {}

    async def add_route(self, routespec, target, data):
        self.table[routespec] = {"routespec": routespec, "target": target, "data": data}

    async def delete_route(self, routespec):
        self.table.pop(routespec, None)

    async def get_all_routes(self):
        return dict(self.table)


c.JupyterHub.proxy_class = Remembering
c.JupyterHub.hub_port = PORT
c.JupyterHub.bind_url = "http://127.0.0.1:OTHER/"
c.JupyterHub.log_level = "INFO"
c.JupyterHub.authenticator_class = "dummy"
c.DummyAuthenticator.password = "pw"
c.Authenticator.allow_all = True
c.Authenticator.admin_users = {"adm"}
c.JupyterHub.allow_named_servers = True
c.JupyterHub.named_server_limit_per_user = 4
c.JupyterHub.spawner_class = "simple"
c.Spawner.cmd = ["SERVER"]
c.JupyterHub.tornado_settings = {"slow_spawn_timeout": 3}
c.Spawner.http_timeout = 3
c.JupyterHub.load_groups = {
    "class1": {"users": ["alice", "bob"], "properties": {"quota": 5}},
    "class2": {"users": ["carol"]},
    "staff": {"users": ["erin"]},
}
c.JupyterHub.load_roles = [
    {"name": "reader", "description": "Reads", "scopes": ["list:users", "read:users", "read:groups"], "groups": ["staff"]},
    {"name": "svc-role", "scopes": ["read:users!group=class1", "list:users!group=class1", "users:activity", "read:hub"], "services": ["svc"]},
    {"name": "sharer", "scopes": ["shares!user", "self", "read:users:name", "read:groups:name"], "users": ["erin"]},
    {"name": "maker", "scopes": ["admin:users", "admin:groups", "tokens", "shares", "admin:servers"], "users": ["dave"]},
]
c.JupyterHub.services = [
    {"name": "svc", "api_token": "svc-token", "oauth_redirect_uri": "http://127.0.0.1:9/services/svc/oauth_callback"},
    {"name": "admsvc", "api_token": "admsvc-token", "admin": True},
]
# Tokens are listed by their last use, which is noted anew after so many seconds: longer than a run takes.
c.JupyterHub.activity_resolution = 3600
c.JupyterHub.api_tokens = {"adm-token": "adm"}
c.Authenticator.allowed_users = {"alice", "bob", "carol", "dave", "erin", "breaks"}
