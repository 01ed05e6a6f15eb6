#!/bin/sh
# The batch script of proxy.on = "slurm". A copy of it, named by proxy.slurm_script, may say more: partition, account, module lines.
# The array, its name, memory (proxy.memory_mib), one core a task and the log are given on sbatch's command line and go over what is here.
##SBATCH --partition=short
##SBATCH --account=project
##SBATCH --time=04:00:00
exec "$1" worker --task "$2/$SLURM_ARRAY_TASK_ID.json"
