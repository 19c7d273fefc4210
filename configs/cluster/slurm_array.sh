#!/bin/bash
# A grid as an array of Slurm without submitit, a part for each job: sbatch configs/cluster/slurm_array.sh
# Before the time limit, and when the machine is needed, a job saves, ends with exit code 75 and is queued again. When
# all are done: python run.py configs/quickstart.yaml --out results/quickstart
#SBATCH --array=0-7
#SBATCH --gpus-per-node=1
#SBATCH --time=01:00:00
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append

srun .venv/bin/python run.py configs/quickstart.yaml --share "$SLURM_ARRAY_TASK_ID/8" --out results/quickstart
code=$?
if [ "$code" = 75 ]; then
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
