#!/bin/sh
# Installs what is missing and nothing else; done in a second when nothing is. Programs go to .venv and .local of this
# checkout; system packages come from apt (Debian 12), as root or with sudo, else the list of them is printed.
set -eu
cd "$(dirname "$0")/.."

say() { echo "setup: $*"; }
fail() { echo "setup: $*" >&2; exit 1; }

# --- system packages ---------------------------------------------------------------------------------------------------

missing=""
need() { # need PACKAGE CHECK...: PACKAGE is missing unless CHECK succeeds
    package=$1
    shift
    "$@" > /dev/null 2>&1 || missing="$missing $package"
}
has_jdk() { # javac: tests compile the Java consumer of docs/examples
    command -v javac && java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])'
}
has_library() { PATH="$PATH:/usr/sbin:/sbin" ldconfig -p | grep -q "$1"; }
has_sasl() { ls /usr/lib/*/sasl2/"$1"; }
find_python() { # Triton's python backend is built for each Python; ours is 3.11
    for candidate in python3.11 python3; do
        if "$candidate" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info[:2] != (3, 11))' 2> /dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

need openjdk-17-jdk-headless has_jdk
need maven sh -c 'command -v mvn'
need orthanc test -x /usr/sbin/Orthanc
need orthanc-dicomweb test -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so
need dcmtk storescu --version
need dicom3tools sh -c 'command -v dciodvfy'
need fonts-nanum test -e /usr/share/fonts/truetype/nanum/NanumGothic.ttf
need docker-compose sh -c 'command -v docker-compose'
need libicu72 has_library libicuuc.so.72 # this and the next are what Postfix below wants
need libnsl2 has_library libnsl.so.2
need libsasl2-modules has_sasl libplain.so
need libsasl2-modules-db has_sasl libsasldb.so
need chromium sh -c 'command -v chromium'
need libpython3.11 has_library libpython3.11.so.1.0
need python3-venv find_python

as_root="sudo -n"
[ "$(id -u)" != 0 ] || as_root=""
if [ -n "$missing" ]; then
    install="apt-get install --yes --no-install-recommends$missing"
    if ! $as_root true 2> /dev/null; then
        fail "these Debian packages are missing:$missing; install them with: sudo $install"
    fi
    command -v apt-get > /dev/null || fail "this is no Debian system; what these packages hold is missing:$missing"
    say "installing$missing"
    # Debian starts a new service at once: its Orthanc would take the ports of ours.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        printf '#!/bin/sh\nexit 101\n' | $as_root tee $policy > /dev/null
        $as_root chmod 755 $policy
        trap '$as_root rm -f $policy' EXIT
    fi
    $as_root env DEBIAN_FRONTEND=noninteractive apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    $as_root env DEBIAN_FRONTEND=noninteractive $install -qq > /dev/null
    case $missing in *orthanc*) $as_root systemctl disable orthanc > /dev/null 2>&1 || true ;; esac
fi
python=$(find_python) || fail "Python 3.11 with venv is missing; on Debian 12: sudo apt-get install python3-venv"

# --- steps, each done again when its inputs change ------------------------------------------------------------------------

step() { # step STAMP "INPUTS" COMMAND: run COMMAND unless it succeeded before with the same INPUTS
    now=$(cat $2 | sha256sum)
    if [ "$(cat "$1" 2> /dev/null)" != "$now" ]; then
        "$3"
        echo "$now" > "$1"
    fi
}

environment() { # environment FOLDER LOCK...: a virtual environment with what the locks name and nothing else
    folder=$1
    shift
    [ -x "$folder/bin/python" ] || "$python" -m venv "$folder"
    # No dependencies beyond the locks: they are complete, but for Triton's, which wants the server's binary only.
    # What is imported is compiled then; most of what is installed never is.
    for lock in "$@"; do
        "$folder/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes \
            -r "$lock"
    done
}

project() {
    say "Python packages of the project (.venv)"
    environment .venv requirements/dev.txt requirements/build.txt
    .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
}

kafka() {
    say "Apache Kafka (.local/kafka)"
    rm -rf .local/kafka/libs
    mvn --quiet --batch-mode -Dstyle.color=never --file deploy/kafka/pom.xml \
        dependency:copy-dependencies "-DoutputDirectory=$PWD/.local/kafka/libs"
}

classes() { # for its next starts; without them it only starts slower
    say "classes of Kafka that its JVM maps instead of loading (.local/kafka)"
    .venv/bin/python -m sinsok.stack.kafka_classes || say "left out: Kafka starts without them"
}

triton() {
    say "Triton Inference Server (.local/triton-venv)"
    environment .local/triton-venv requirements/triton.txt
}

hapi() {
    say "HAPI HL7, the tests' receiver of messages (.local/hapi-libs)"
    mvn --quiet --batch-mode -Dstyle.color=never --file tests/hapi/pom.xml \
        dependency:copy-dependencies "-DoutputDirectory=$PWD/.local/hapi-libs"
}

postfix() { # unpacked, not installed: a machine has one mail server
    say "Postfix, the tests' mail server (.local/postfix)"
    rm -rf .local/postfix
    mkdir -p .local/postfix
    (
        cd .local/postfix
        download="apt-get -o APT::Sandbox::User=root download -qq postfix sasl2-bin"
        $download 2> /dev/null || { $as_root apt-get update -qq && $download; }
        for package in sasl2-bin*.deb postfix*.deb; do dpkg-deb -x "$package" .; done
        rm -rf ./*.deb etc lib var
    )
}

prometheus() { # the same: promtool, which checks and tests the rules
    say "promtool, for the tests of the alert rules (.local/prometheus)"
    rm -rf .local/prometheus
    mkdir -p .local/prometheus
    (
        cd .local/prometheus
        download="apt-get -o APT::Sandbox::User=root download -qq prometheus"
        $download 2> /dev/null || { $as_root apt-get update -qq && $download; }
        dpkg-deb -x prometheus*.deb .
        mv usr/bin/promtool promtool
        rm -rf ./*.deb etc lib usr var
    )
}

rsyslog() { # unpacked, not installed: a machine has one syslog daemon
    say "rsyslog, the tests' audit record repository (.local/rsyslog)"
    rm -rf .local/rsyslog
    mkdir -p .local/rsyslog
    (
        cd .local/rsyslog
        download="apt-get -o APT::Sandbox::User=root download -qq rsyslog rsyslog-openssl libestr0 libfastjson4"
        $download 2> /dev/null || { $as_root apt-get update -qq && $download; }
        for package in ./*.deb; do dpkg-deb -x "$package" .; done
        rm -rf ./*.deb etc lib var
    )
}

mkdir -p .local/kafka .local/hapi-libs
# Two lanes beside each other. What a shell puts into the background ignores an interrupt.
trap 'trap - INT TERM; kill 0' INT TERM
step .venv/.installed "pyproject.toml requirements/dev.txt requirements/build.txt" project & lanes=$!
(
    step .local/kafka/.installed deploy/kafka/pom.xml kafka
    step .local/triton-venv/.installed requirements/triton.txt triton
    step .local/hapi-libs/.installed tests/hapi/pom.xml hapi
    [ -x .local/postfix/usr/lib/postfix/sbin/master ] || postfix
    [ -x .local/rsyslog/usr/sbin/rsyslogd ] || rsyslog
    [ -x .local/prometheus/promtool ] || prometheus
) & lanes="$lanes $!"
failed=0
for lane in $lanes; do wait "$lane" || failed=1; done
[ $failed = 0 ] || exit 1
step .local/kafka/.classes "deploy/kafka/pom.xml sinsok/stack/kafka.py" classes

# --- weights of the trained network, where they can be had; nothing below makes setup fail ---------------------------------

weights() {
    from=../shared/weights/blast_ct_v1
    [ -d "$from" ] || from=""
    # Without a network one attempt an hour, or `make test` would wait for it each time.
    if [ -z "$from" ] && [ -n "$(find .local/.weights-away -mmin -60 2> /dev/null)" ]; then
        say "BLAST-CT is not installed, the rule-based model keeps serving; to try again: sinsok models install blast-ct"
    elif said=$(.venv/bin/sinsok models install blast-ct ${from:+--from "$from"} 2>&1); then
        rm -f .local/.weights-away
        echo "$wanted" > .local/.weights
        say "BLAST-CT's weights (triton_models)"
    else
        [ -n "$from" ] || : > .local/.weights-away
        said=$(echo "$said" | tail -n 1)
        say "BLAST-CT is not installed, the rule-based model keeps serving: ${said#error: }"
    fi
}

wanted=$(cat triton_models/blast_ct*/config.pbtxt gateways/inference/weights/*.py 2> /dev/null | sha256sum)
if [ "$(cat .local/.weights 2> /dev/null)" != "$wanted" ] || [ ! -e triton_models/blast_ct/provenance.json ] \
    || [ ! -e triton_models/blast_ct_ensemble/provenance.json ]; then
    weights
fi
