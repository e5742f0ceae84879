#!/usr/bin/env bash
# A real SLURM on this machine alone, for tests: no systemd, root, Debian, loopback only.
#   one_node.sh up [--db] | down | status | wait
# --db adds mariadb + slurmdbd so that sacct works; without it use squeue polling.
# State lives in $SLURM_BOX (default: slurmbox in the temporary folder). Idempotent; stops by recorded pid.
set -euo pipefail
BOX=${SLURM_BOX:-${TMPDIR:-/tmp}/slurmbox}
export SLURM_CONF=$BOX/slurm.conf
CPUS=$(nproc); MEM=$(( $(awk '/MemTotal/{print $2}' /proc/meminfo) / 1024 - 512 ))
NGPU=${FAKE_GPUS:-2}
HOST=$(hostname -s)
WITH_DB=0; CMD=${1:-up}; [ "${2:-}" = --db ] && WITH_DB=1

alive() { [ -s "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null; }
stop_pid() { # FILE [SIG]
  if alive "$1"; then local p; p=$(cat "$1"); kill -"${2:-TERM}" "$p" || true
    for _ in $(seq 50); do kill -0 "$p" 2>/dev/null || break; sleep 0.1; done
    kill -0 "$p" 2>/dev/null && kill -KILL "$p" || true; fi
  rm -f "$1"; }
wait_for() { # SECONDS CMD...
  local n=$(( $1 * 10 )); shift
  for _ in $(seq $n); do "$@" >/dev/null 2>&1 && return 0; sleep 0.1; done
  echo "timed out: $*" >&2; return 1; }

install_debs() {
  local want="slurmctld slurmd slurm-client munge"; [ $WITH_DB = 1 ] && want="$want slurmdbd mariadb-server"
  local miss=""; for p in $want; do dpkg -s "$p" >/dev/null 2>&1 || miss="$miss $p"; done
  [ -z "$miss" ] && return 0
  apt-get update -qq; DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $miss >"$BOX/apt.log" 2>&1; }

write_conf() {
  mkdir -p "$BOX"/{state,spool,log,run,gpu,db}
  : > "$BOX/gres.conf"
  if [ "$NGPU" -gt 0 ]; then   # a GRES wants one char device per unit: clones of /dev/null do
    for i in $(seq 0 $((NGPU-1))); do [ -c "$BOX/gpu/fake$i" ] || { rm -f "$BOX/gpu/fake$i"; mknod "$BOX/gpu/fake$i" c 1 3; }; done
    for i in $(seq 0 $((NGPU-1))); do echo "NodeName=$HOST Name=gpu Type=fake File=$BOX/gpu/fake$i"; done > "$BOX/gres.conf"
  fi
  cat > "$BOX/slurm.conf" <<C
ClusterName=box
SlurmctldHost=$HOST(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$BOX/run/munge.sock
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
MailProg=/bin/true
SlurmctldPort=16817
SlurmdPort=16818
SlurmctldPidFile=$BOX/run/slurmctld.pid
SlurmdPidFile=$BOX/run/slurmd.pid
SlurmctldLogFile=$BOX/log/slurmctld.log
SlurmdLogFile=$BOX/log/slurmd.log
StateSaveLocation=$BOX/state
SlurmdSpoolDir=$BOX/spool
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
SchedulerType=sched/backfill
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=2
MinJobAge=300
ReturnToService=2
SlurmctldTimeout=30
SlurmdTimeout=30
KillWait=5
PropagateResourceLimits=NONE
GresTypes=gpu
$( [ $WITH_DB = 1 ] && printf 'AccountingStorageType=accounting_storage/slurmdbd\nAccountingStorageHost=127.0.0.1\nAccountingStoragePort=16819\nAccountingStoragePass=%s\nAccountingStorageTRES=gres/gpu\nAccountingStoreFlags=job_comment\n' "$BOX/run/munge.sock" || echo AccountingStorageType=accounting_storage/none )
NodeName=$HOST NodeAddr=127.0.0.1 NodeHostName=$HOST CPUs=$CPUS RealMemory=$MEM $( [ "$NGPU" -gt 0 ] && echo Gres=gpu:fake:$NGPU ) State=UNKNOWN
PartitionName=cpu Nodes=$HOST Default=YES MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=$HOST Default=NO  MaxTime=INFINITE State=UP
C
  # the snakemake jobstep plugin strips SLURM_* (SLURM_CONF too) before its inner srun, so the
  # default path must work; refuse to overwrite a real cluster's configuration
  mkdir -p /etc/slurm
  for f in slurm.conf gres.conf; do
    if [ -e /etc/slurm/$f ] && [ ! -L /etc/slurm/$f ]; then echo "/etc/slurm/$f is a real file; not touching it" >&2; exit 1; fi
    ln -sfn "$BOX/$f" /etc/slurm/$f
  done
}

start_munge() {
  alive "$BOX/run/munged.pid" && return 0
  # munged wants key and socket dirs nobody else can write, up to /; the key is our own
  [ -s "$BOX/munge.key" ] || { dd if=/dev/urandom of="$BOX/munge.key" bs=128 count=1 status=none; chmod 600 "$BOX/munge.key"; }
  /usr/sbin/munged --force --key-file="$BOX/munge.key" --socket="$BOX/run/munge.sock" \
    --pid-file="$BOX/run/munged.pid" --log-file="$BOX/log/munged.log" --seed-file="$BOX/run/munge.seed"
  wait_for 10 munge -n -S "$BOX/run/munge.sock"; }

start_db() {
  if ! alive "$BOX/run/mariadb.pid"; then
    [ -d "$BOX/db/mysql" ] || mariadb-install-db --no-defaults --user=root --datadir="$BOX/db" --auth-root-authentication-method=socket >"$BOX/log/dbinstall.log" 2>&1
    mariadbd --no-defaults --user=root --datadir="$BOX/db" --bind-address=127.0.0.1 --port=13306 --socket="$BOX/run/my.sock" \
      --pid-file="$BOX/run/mariadb.pid" --innodb-buffer-pool-size=128M --innodb-lock-wait-timeout=900 >"$BOX/log/mariadb.log" 2>&1 &
    wait_for 30 mariadb --no-defaults -S "$BOX/run/my.sock" -e 'select 1'
    mariadb --no-defaults -S "$BOX/run/my.sock" -e "create database if not exists slurm_acct; create user if not exists slurm@'127.0.0.1' identified by 'box'; grant all on slurm_acct.* to slurm@'127.0.0.1'; create user if not exists slurm@localhost identified by 'box'; grant all on slurm_acct.* to slurm@localhost;"
  fi
  if ! alive "$BOX/run/slurmdbd.pid"; then
    cat > "$BOX/slurmdbd.conf" <<C
AuthType=auth/munge
AuthInfo=socket=$BOX/run/munge.sock
DbdAddr=127.0.0.1
DbdHost=localhost
DbdPort=16819
CommunicationParameters=NoInAddrAny
SlurmUser=root
PidFile=$BOX/run/slurmdbd.pid
LogFile=$BOX/log/slurmdbd.log
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort=13306
StorageUser=slurm
StoragePass=box
StorageLoc=slurm_acct
C
    chmod 600 "$BOX/slurmdbd.conf"
    slurmdbd && wait_for 30 sacctmgr -n show cluster
    sacctmgr -i add cluster box >/dev/null 2>&1 || true
    sacctmgr -i add account lab cluster=box >/dev/null 2>&1 || true
    sacctmgr -i add user root account=lab >/dev/null 2>&1 || true
  fi; }

up() {
  mkdir -p "$BOX"; chmod 755 "$BOX"; install_debs; write_conf; start_munge
  [ $WITH_DB = 1 ] && start_db
  alive "$BOX/run/slurmctld.pid" || { slurmctld -c -f "$SLURM_CONF"; wait_for 20 scontrol ping; }
  alive "$BOX/run/slurmd.pid" || slurmd -f "$SLURM_CONF"
  for _ in $(seq 300); do case "$(sinfo -h -o %t 2>/dev/null | head -1)" in idle*|mix*|alloc*) break;; down*|drain*) scontrol update nodename="$HOST" state=resume || true;; esac; sleep 0.1; done
  sinfo -N -o '%N %P %t %c %m %G'
  echo "export SLURM_CONF=$SLURM_CONF" > "$BOX/env.sh"; echo "use it with:  . $BOX/env.sh"; }

down() {
  for f in slurmd slurmctld slurmdbd; do stop_pid "$BOX/run/$f.pid"; done
  stop_pid "$BOX/run/mariadb.pid"; stop_pid "$BOX/run/munged.pid"
  for f in slurm.conf gres.conf; do [ "$(readlink /etc/slurm/$f 2>/dev/null)" = "$BOX/$f" ] && rm -f /etc/slurm/$f; done; true; }

case $CMD in up) up;; down) down;;
  status) for f in munged mariadb slurmdbd slurmctld slurmd; do alive "$BOX/run/$f.pid" && echo "$f up $(cat "$BOX/run/$f.pid")" || echo "$f down"; done;;
  *) echo "usage: $0 up [--db] | down | status" >&2; exit 2;; esac
