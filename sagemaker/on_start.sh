#!/bin/bash
# Lifecycle configuration of a SageMaker notebook instance ("Start notebook"; the platform is
# notebook-al2023-v1). It runs as root at each start, the first included, and may take five minutes.
#
# The volume below /home/ec2-user/SageMaker is kept when the instance stops; all else is new at each
# start. So Python, the packages and the downloads of the Hub go there, once, in the background; the
# kernel's entry and the watch for idleness are made at each start.
set -euo pipefail

OWNER=${OWNER:-ec2-user}
VOLUME=${VOLUME:-/home/ec2-user/SageMaker}
PYTHON=${PYTHON:-3.12}             # 3.11 or newer; the instance's own kernels have 3.10
IDLE_MINUTES=${IDLE_MINUTES:-60}   # 0: never stop by itself
SOURCE=${SOURCE:-https://github.com/clinical-ner/clinical_ner}

PLACE=$VOLUME/clinical_ner         # env/ (Python), source/ (the repository), hub/ (downloads)
STEPS=$PLACE/set_up.sh
mkdir -p "$PLACE/hub"

cat > "$STEPS" <<STEPS
set -euo pipefail
if [ ! -e "$PLACE/ready" ]; then
  rm -rf "$PLACE/env" "$PLACE/source"
  git clone --depth 1 "$SOURCE" "$PLACE/source"
  conda create --yes --prefix "$PLACE/env" --override-channels --channel conda-forge "python=$PYTHON" pip
  "$PLACE/env/bin/pip" install --no-cache-dir "$PLACE/source[aws]" ipykernel
  touch "$PLACE/ready"
fi
"$PLACE/env/bin/python" -m ipykernel install --user --name clinical_ner --display-name clinical_ner \\
  --env HF_HOME "$PLACE/hub" --env PATH "$PLACE/env/bin:\\\${PATH}"
STEPS

chown -R "$OWNER" "$PLACE/hub" "$STEPS"
chown "$OWNER" "$PLACE"
echo "export HF_HOME=$PLACE/hub" > "${PROFILE:-/etc/profile.d/clinical_ner.sh}"  # for terminals

# A login shell, since it knows where conda is. The log says how far it has come.
nohup sudo -u "$OWNER" -i bash "$STEPS" > "$PLACE/set_up.log" 2>&1 < /dev/null &

if [ "$IDLE_MINUTES" -gt 0 ]; then
  systemd-run --unit clinical_ner_idle --on-active=300 --on-unit-active=300 \
    /bin/bash -c "test ! -e $PLACE/ready || $PLACE/env/bin/python $PLACE/source/sagemaker/idle.py --minutes $IDLE_MINUTES"
fi
