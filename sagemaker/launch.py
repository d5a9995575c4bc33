"""Start jobs on SageMaker, with its SDK 3: pip install 'sagemaker>=3.27'."""

from pathlib import Path

HERE = str(Path(__file__).parent)
INSIDE = "/opt/ml/processing"  # where a processing job finds its inputs and leaves its output


def train_job(
    bucket: str,  # a prefix for each run, with corpus/train and corpus/validation, such as "s3://my-bucket/ner"
    image: str,  # of a PyTorch container in your region, with Python 3.11 or later
    role: str,  # ARN of the execution role
    hyperparameters: dict,  # flags of clinical_ner_train, such as {"model_name": "UFNLP/gatortronS"}
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


def annotate_job(
    notes: str,  # address of a folder of text files, or of one with one table, such as "s3://my-bucket/notes"
    model: str,  # address of a tagger's folder, or of the model.tar.gz that a training job left
    found: str,  # address of a folder for what is found
    image: str,  # of a PyTorch container in your region, with Python 3.11 or later
    role: str,  # ARN of the execution role
    *,
    options: dict | None = None,  # flags of annotate_entry.py, such as {"output": "parquet"}
    resume: bool = False,  # go on after an earlier job with the same `found`, one out of time say
    instance_type: str = "ml.g5.xlarge",
    hours: int = 24,  # at most
    wait: bool = False,  # until the job is over
):
    """Annotate notes on S3 with a tagger on S3; results are uploaded as they come."""
    from sagemaker.core.processing import FrameworkProcessor

    processor = FrameworkProcessor(
        image_uri=image,
        role=role,
        command=["python3"],
        instance_type=instance_type,
        instance_count=1,
        volume_size_in_gb=100,
        max_runtime_in_seconds=hours * 3600,
        base_job_name="clinical-ner-annotate",
    )
    places = {"notes": notes, "model": model} | ({"earlier": found} if resume else {})
    processor.run(
        code="annotate_entry.py",
        source_dir=HERE,
        requirements="requirements.txt",
        inputs=[job_input(name, address) for name, address in places.items()],
        outputs=[job_output(found)],
        arguments=job_flags(options or {}) or None,
        wait=wait,
        logs=wait,
    )
    return processor


def job_flags(
    options: dict,  # values by name; True stands for a flag without a value
) -> list[str]:
    """Options as words of a command line."""
    words = []
    for name, value in options.items():
        if value is not False:
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return words


def job_input(
    name: str,  # of the folder below /opt/ml/processing/input
    address: str,  # on S3
):
    """An input of a processing job, copied to its disk before it starts."""
    from sagemaker.core.shapes import ProcessingInput, ProcessingS3Input

    source = ProcessingS3Input(
        s3_uri=address,
        local_path=f"{INSIDE}/input/{name}",
        s3_data_type="S3Prefix",
        s3_input_mode="File",
    )
    return ProcessingInput(input_name=name, s3_input=source)


def job_output(
    address: str,  # of a folder on S3
):
    """The output of a processing job, copied to S3 as files are finished."""
    from sagemaker.core.shapes import ProcessingOutput, ProcessingS3Output

    target = ProcessingS3Output(
        s3_uri=address, local_path=f"{INSIDE}/output", s3_upload_mode="Continuous"
    )
    return ProcessingOutput(output_name="found", s3_output=target)
