"""What is masked of an environment and of arguments, and what is not."""

import shlex
import time

import pytest
from secret_kinds import KINDS

from tracer.secrets.arguments import masked as in_arguments
from tracer.secrets.spans import MASK
from tracer.secrets.values import masked

SECRET = [
    ("PASSWORD", "x"),
    ("MYSQL_PWD", "x"),
    ("DB_PASS", "x"),
    ("pgpassword", "x"),
    ("GITHUB_TOKEN", "x"),
    ("AWS_SECRET_ACCESS_KEY", "x"),
    ("API_KEY", "x"),
    ("apikey", "x"),
    ("SSH_PRIVATE_KEY", "x"),
    ("GOOGLE_APPLICATION_CREDENTIALS", "x"),
    ("BASIC_AUTH", "x"),
    ("SESSION_COOKIE", "x"),
    ("SENTRY_DSN", "x"),
    ("X", "-----BEGIN RSA PRIVATE KEY-----\nMII"),
    ("X", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abc"),
    ("X", "AKIAIOSFODNN7EXAMPLE"),
    ("X", "ghp_abcdefghijklmnopqrst"),
]

PLAIN = [
    ("PATH", "/usr/bin:/bin"),
    ("PWD", "/app"),
    ("OLDPWD", "/"),
    ("HOME", "/root"),
    ("KEYBOARD", "us"),
    ("AUTHOR", "me"),
    ("GIT_AUTHOR_NAME", "me"),
    ("LANG", "C.UTF-8"),
    ("URL", "https://example.org/path?page=2&size=10"),
    ("EMPTY_PASSWORD", ""),
    ("SSH_AUTH_SOCK", "/run/agent"),
]

PARTLY = [
    ("DATABASE_URL", "postgres://app:hunter2@db:5432/x", f"postgres://app:{MASK}@db:5432/x"),
    ("REDIS", "redis://:hunter2@cache/0", f"redis://:{MASK}@cache/0"),
    ("HOOK", "https://x.org/h?id=7&token=abc&n=1", f"https://x.org/h?id=7&token={MASK}&n=1"),
    ("TWO", "http://a:b@c,http://d:e@f", f"http://a:{MASK}@c,http://d:{MASK}@f"),
]


@pytest.mark.parametrize(("name", "value"), SECRET)
def test_secret(name: str, value: str) -> None:
    assert masked(name, value) == MASK


@pytest.mark.parametrize(("name", "value"), PLAIN)
def test_not_secret(name: str, value: str) -> None:
    assert masked(name, value) == value


@pytest.mark.parametrize(("name", "value", "shown"), PARTLY)
def test_of_urls_the_secret_part(name: str, value: str, shown: str) -> None:
    assert masked(name, value) == shown


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_secret(kind: str) -> None:
    form, secret = KINDS[kind]
    name, _, value = form.format(secret).partition("=")
    shown = masked(name, value)
    assert secret not in shown and MASK in shown
    before, after = form.partition("=")[2].replace("{{", "{").replace("}}", "}").split("{}")
    if shown != MASK:  # the rest is still there
        assert all(word in shown for word in (before + " " + after).split() if word != "Bearer"), shown


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["argument", "option", "shell"])
def test_a_kind_of_secret_in_arguments(kind: str, how: str) -> None:
    form, secret = KINDS[kind]
    text = form.format(secret)
    args = {"argument": ["env", text, "x"], "option": ["x", f"--set={text}"], "shell": ["sh", "-c", f"export {text}"]}
    shown, count = in_arguments(args[how])
    assert count >= 1
    assert secret not in "\0".join(shown)


COMMANDS = {  # how a shell would have it, and what is shown
    "tool --password hunter2 --verbose": f"tool --password {MASK} --verbose",
    "tool --password=hunter2 x": f"tool --password={MASK} x",
    "tool -password -p@ss x": f"tool -password {MASK} x",
    "mysql -phunter2 -u root db": f"mysql -p{MASK} -u root db",
    "/usr/bin/mysqldump --all -phunter2": f"/usr/bin/mysqldump --all -p{MASK}",
    "docker exec db mysql -phunter2": f"docker exec db mysql -p{MASK}",
    "kubectl exec db -- mariadb -phunter2": f"kubectl exec db -- mariadb -p{MASK}",
    "sh -c 'mysql -phunter2 -u root; ls -p x'": f"sh -c 'mysql -p{MASK} -u root; ls -p x'",
    """bash -c 'curl -u "me:hunter2" https://x'""": f"""bash -c 'curl -u "me:{MASK}" https://x'""",
    "curl --user me:hunter2 https://x": f"curl --user me:{MASK} https://x",
    "curl -ume:hunter2 https://x": f"curl -ume:{MASK} https://x",
    "curl https://u:hunter2@x": f"curl https://u:{MASK}@x",
    "git clone https://u:h@n/ter2@x/y.git": f"git clone https://u:{MASK}@x/y.git",
    "curl -H 'Authorization: Bearer hunter2' x": f"curl -H 'Authorization: {MASK}' x",
    "sshpass -p hunter2 ssh x": f"sshpass -p {MASK} ssh x",
    "sshpass -phunter2 ssh x": f"sshpass -p{MASK} ssh x",
    "redis-cli -h x -a hunter2": f"redis-cli -h x -a {MASK}",
    "docker login -u me -p hunter2 x": f"docker login -u me -p {MASK} x",
    "ldapsearch -D cn=x -w hunter2": f"ldapsearch -D cn=x -w {MASK}",
    "smbclient -U me%hunter2 //x/y": f"smbclient -U me%{MASK} //x/y",
    "keytool -storepass hunter2 -list": f"keytool -storepass {MASK} -list",
    "openssl enc -k hunter2": f"openssl enc -k {MASK}",
    "openssl rsa -passin pass:hunter2": f"openssl rsa -passin {MASK}",
    "7z a -phunter2 x.7z y": f"7z a -p{MASK} x.7z y",
    "htpasswd -b file me hunter2": f"htpasswd -b file me {MASK}",
    "rabbitmqctl add_user me hunter2": f"rabbitmqctl add_user me {MASK}",
    "aws configure set aws_secret_access_key hunter2": f"aws configure set aws_secret_access_key {MASK}",
    "mount -o ro,password=hunter2,username=me //x /y": f"mount -o ro,password={MASK},username=me //x /y",
    "docker login -u me -phunter2 x": f"docker login -u me -p{MASK} x",
    "ssh-keygen -t rsa -N hunter2 -f x": f"ssh-keygen -t rsa -N {MASK} -f x",
    "sqlplus me/hunter2@db": f"sqlplus me/{MASK}@db",
    "mc alias set x https://x me hunter2": f"mc alias set x https://x me {MASK}",
    "wpa_passphrase home hunter2": f"wpa_passphrase home {MASK}",
    """mysql -e "SET x IDENTIFIED BY 'hunter2'" x""": f"""mysql -e "SET x IDENTIFIED BY '{MASK}'" x""",
    """psql -c "ALTER USER me WITH PASSWORD 'hunter2'" x""": f"""psql -c "ALTER USER me WITH PASSWORD '{MASK}'" x""",
    "sh -c 'echo machine x login me password hunter2'": f"sh -c 'echo machine x login me password {MASK}'",
    'psql "host=x password=hunter2 user=me"': f'psql "host=x password={MASK} user=me"',
    "xfreerdp /u:me /p:hunter2 /v:x": f"xfreerdp /u:me /p:{MASK} /v:x",
    "java -DkeyStorePassword=hunter2 -jar x": f"java -DkeyStorePassword={MASK} -jar x",
    "kubectl create secret generic x --from-literal=password=hunter2": (
        f"kubectl create secret generic x --from-literal=password={MASK}"
    ),
}


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_line(line: str) -> None:
    shown, count = in_arguments(shlex.split(line))
    assert (shown, count) == (shlex.split(COMMANDS[line]), 1)


@pytest.mark.parametrize(
    "line",
    [
        "sleep 10",
        "docker run -p 8080:80 -v /secrets:/run/secrets:ro keycloak:24",
        "mkdir -p /a/b",
        "mysql -p -u root",
        "docker login --password-stdin registry",
        "nginx -c /etc/nginx.conf --tls-key=/etc/ssl/server.key",
        "sort --key=2,3 file",
        "npm install https://registry:4873/@scope/pkg",
        "docker pull https://registry:5000/img@sha256:0123",
        "containerd-shim -namespace moby -id 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
        "python -m serve --max-tokens=4096 --author=me --bypass=x --passive",
        "glance-api-server-worker-1 npm_config_registry=https://x hf_transfer_enabled_now=1",
        "ffmpeg -i a.mp4 out.mp4",
        "ssh -i /root/.ssh/id_rsa git@github.com",
        "sh -c 'while true; do sleep 1; done'",
        "/usr/lib/jvm/java-17-openjdk-amd64/bin/java -Xmx512m -Dfile.encoding=UTF-8 org.example.Main",
        "tool --password --verbose",
    ],
)
def test_a_command_line_without_secrets(line: str) -> None:
    assert in_arguments(shlex.split(line)) == (shlex.split(line), 0)


@pytest.mark.parametrize(
    "value",
    [
        *("a://" * 20000, "://" + ":" * 100000, "?token" * 20000, "eyJ" * 30000, "a" * 200000, "?" + "token" * 40000),
        *("//" * 50000, "sk-" * 30000, "xoxb-1-" * 20000, "'" * 99999, '"\\' * 50000, "password=" * 20000),
        *("-----BEGIN PRIVATE KEY" * 9000, "aws " * 40000, "://a:" * 30000 + "@", "x=" * 50000, "; " * 60000),
        *("password: " * 20000, "a1b2c3d4e5f6-" * 9000, "Bearer " * 20000, "://" + "a1" * 90000, "mysql -" * 20000),
    ],
    ids=lambda value: value[:12],
)
def test_hostile_values_take_no_time(value: str) -> None:
    """Linear: twice the text takes about twice the time, not four times; and not long."""
    for ask in (lambda text: masked("X", text), lambda text: in_arguments(["x", text])):
        began = time.process_time()
        ask(value)
        assert time.process_time() - began < 5


def test_what_is_cut_in_a_password_is_masked_too() -> None:
    assert in_arguments(["psql", "postgres://me:hunt"], is_cut=True) == (["psql", f"postgres://me:{MASK}"], 1)
    assert in_arguments(["psql", "postgres://me:hunt"], is_cut=False)[1] == 0
