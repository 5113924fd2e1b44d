#!/bin/sh
# Lets the PACS side of one site read all results and its own alerts, and nothing else:
#   allow-pacs.sh BOOTSTRAP ADMIN.PROPERTIES SITE < FILE-WITH-THE-PASSWORD
# The user is pacs-SITE, and so begin the names of its consumer groups: pacs-SITE-worklist. Its quota is a broker's.
set -eu
bootstrap=$1 admin=$2 site=$3
user=pacs-$site

settings=$(mktemp) # not on a command line, where every user of this machine could read it
trap 'rm -f "$settings"' EXIT
IFS= read -r password
echo "SCRAM-SHA-512=password=$password" > "$settings"

configure() {
    kafka-configs.sh --bootstrap-server "$bootstrap" --command-config "$admin" \
        --alter --entity-type users --entity-name "$user" "$@"
}
allow() {
    kafka-acls.sh --bootstrap-server "$bootstrap" --command-config "$admin" --force \
        --add --allow-principal "User:$user" "$@"
}
configure --add-config-file "$settings"
allow --operation Read --operation Describe --topic triage.results --topic "alerts.$site"
allow --operation Read --group "$user-" --resource-pattern-type prefixed
# 2 MB a second, and a fifth of one thread's time: a consumer that reads everything again stays a good neighbour.
configure --add-config consumer_byte_rate=2000000,request_percentage=20
