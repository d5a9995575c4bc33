"""Start a training job on SageMaker (SDK 3: pip install 'sagemaker>=3.27')."""

from pathlib import Path

HERE = str(Path(__file__).parent)


def train_job(
    bucket: str,  # a prefix for each run, with corpus/train and corpus/validation, such as "s3://my-bucket/ner"
    image: str,  # of a PyTorch container in your region, with Python 3.11 or later
    role: str,  # ARN of the execution role
    hyperparameters: dict,  # such as {"encoder": "UFNLP/gatortronS", "epochs": 5}
    *,
    instance_type: str = "ml.g5.xlarge",
    hours: int = 12,  # of training at most; a spot machine may be waited for as long again
    wait: bool = False,  # until the job is over
):
    """Train on a spot machine; a job that is interrupted goes on after its last epoch."""
    from sagemaker.core.shapes import CheckpointConfig, OutputDataConfig, StoppingCondition
    from sagemaker.core.training.configs import Compute, InputData, SourceCode
    from sagemaker.train.model_trainer import ModelTrainer

    seconds = hours * 3600
    trainer = ModelTrainer(
        training_image=image,
        role=role,
        source_code=SourceCode(
            source_dir=HERE, entry_script="train_entry.py", requirements="requirements.txt"
        ),
        compute=Compute(
            instance_type=instance_type,
            instance_count=1,
            volume_size_in_gb=100,
            enable_managed_spot_training=True,
        ),
        hyperparameters=hyperparameters,
        checkpoint_config=CheckpointConfig(
            s3_uri=f"{bucket}/checkpoints", local_path="/opt/ml/checkpoints"
        ),
        stopping_condition=StoppingCondition(
            max_runtime_in_seconds=seconds, max_wait_time_in_seconds=2 * seconds
        ),
        output_data_config=OutputDataConfig(s3_output_path=f"{bucket}/models"),
    )
    parts = ("train", "validation")
    channels = [InputData(channel_name=p, data_source=f"{bucket}/corpus/{p}") for p in parts]
    trainer.train(input_data_config=channels, wait=wait)
    return trainer
