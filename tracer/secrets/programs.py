"""Programs whose options have secrets in them without saying so: mysql -pSECRET. Pure."""

from __future__ import annotations

from typing import NamedTuple


class Habits(NamedTuple):
    """What a program's options mean. joined: options with the secret in the same word (-pSECRET); behind: options whose
    next word is the secret (-p SECRET); user: options with USER:SECRET, by that separator; logon: words may be
    USER/SECRET@PLACE; last: the last word is the secret where these words are ahead of it."""

    joined: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    user: tuple[str, ...] = ()
    separator: str = ":"
    logon: bool = False
    last: frozenset[str] = frozenset()


_TABLE = {
    "mysql mysqldump mysqladmin mysqlimport mysqlshow mysqlcheck mysqlbinlog mysqlpump mysqlsh mytop": Habits(("-p",)),
    "mariadb mariadb-dump mariadb-admin mariadb-import mariadb-check": Habits(("-p",)),
    "7z 7za 7zr rar unrar": Habits(joined=("-p", "-hp")),
    "ldapsearch ldapadd ldapmodify ldapdelete ldapwhoami ldapcompare": Habits(("-w",), ("-w",)),
    "ldappasswd": Habits(("-w",), ("-w", "-s", "-a")),
    "sqlcmd bcp zip unzip zipcloak ipmitool mosquitto_pub mosquitto_sub mosquitto_rr": Habits(("-P",), ("-P",)),
    "mongo mongosh mongodump mongorestore mongoexport mongoimport cqlsh": Habits(behind=("-p",)),
    "rabbitmqadmin useradd usermod rdesktop twine": Habits(behind=("-p",)),
    "sshpass login": Habits(joined=("-p",), behind=("-p",)),  # login: docker login, az login
    "ssh-keygen": Habits(behind=("-N", "-P")),
    "sqlplus expdp impdp sqlldr rman": Habits(logon=True),
    "htpasswd": Habits(last=frozenset({"-b", "-bc", "-cb", "-nb", "-bn", "-Bb", "-bB", "-nbB", "-bnB", "-Bbn"})),
    "rabbitmqctl": Habits(last=frozenset({"add_user", "change_password", "authenticate_user"})),
    "mc": Habits(last=frozenset({"alias"})),
    "wpa_passphrase": Habits(last=frozenset({"wpa_passphrase"})),
    "xfreerdp": Habits(joined=("/p:",)),
    "snmpwalk snmpget snmpset snmpbulkwalk": Habits(behind=("-A", "-X", "-c")),
    "plink pscp psftp": Habits(behind=("-pw",)),
    "redis-cli": Habits(behind=("-a", "--pass")),
    "openssl": Habits(behind=("-k", "-K", "-pass", "-passin", "-passout")),
    "curl": Habits(user=("-u", "--user", "-U", "--proxy-user")),
    "http https": Habits(user=("-a", "--auth")),
    "lftp": Habits(user=("-u",), separator=","),
    "smbclient rpcclient net": Habits(user=("-U", "--user"), separator="%"),
}
HABITS = {name: habits for names, habits in _TABLE.items() for name in names.split()}
"""What the options of these programs mean, by the program's name."""
