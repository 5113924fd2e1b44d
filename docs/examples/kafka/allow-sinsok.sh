#!/bin/sh
# Lets sinsok's own processes do their work through the listener without passwords, from one address:
#   allow-sinsok.sh BOOTSTRAP ADMIN.PROPERTIES ADDRESS
# They may use and create topics and groups, and write in transactions; they may change no user, no rule and no quota.
set -eu
bootstrap=$1 admin=$2 address=$3

allow() {
    kafka-acls.sh --bootstrap-server "$bootstrap" --command-config "$admin" --force \
        --add --allow-principal User:ANONYMOUS --allow-host "$address" "$@"
}
allow --operation All --topic '*' --group '*' --transactional-id '*'
allow --operation Create --operation Describe --cluster
