#!/bin/sh
# The batch script of what is handed to Slurm. A copy of it, named by proxy.slurm_script (trainings) or --slurm-script (runs of a study), may
# say more: partition, account, module lines. The array, its name and the log are given on sbatch's command line and go over what is here, and
# so are cores, cards and memory: one core and proxy.memory_mib for trainings, --cores, --gpus and --memory-mib for a run. A job of trainings
# takes further ones of its array for five minutes, so that Slurm need not begin a job for each: a time limit has to leave that.
##SBATCH --partition=short
##SBATCH --account=project
##SBATCH --time=04:00:00
exec "$1" worker --task "$2/$SLURM_ARRAY_TASK_ID.json"
