"""Other people's weights give their published results in our nets."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from photo_classes import PHOTOS
from residuum.classifier import Classifier
from residuum.data.decode import decode
from residuum.data.open import open_dataset
from residuum.data.preprocess import Preprocessing
from residuum.evaluation import evaluate
from residuum.references import build

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@pytest.mark.timeout(240)  # the only slow test here: 60,000 images decoded, 10,000 shown to the net
def test_akamaster_resnet20_makes_827_errors_on_cifar10(shared: Path) -> None:
    """Published as 91.73 % (pytorch_resnet_cifar10, README); 9,173 of 10,000 test images, not one more or less."""
    test = open_dataset("cifar10", data_dir=shared / "cifar10").test
    assert test is not None
    net = build("resnet20", weights=shared / "weights" / "resnet20-12fca82f.th").eval()
    preprocessing = Preprocessing(channels=3, resize=32, crop=(32, 32), mean=MEAN, std=STD)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # several threads wait for each other, for minutes where other programs run beside them
    try:
        metrics = evaluate(net, test, preprocessing, num_classes=10, batch_size=64)
    finally:
        torch.set_num_threads(threads)
    assert metrics.num_images == 10_000
    assert int(metrics.confusion.trace()) == 9_173
    assert metrics.top1 == 0.9173
    assert metrics.confusion.sum(axis=1).tolist() == [1000] * 10


def test_a_foreign_resnet18_knows_the_photos(shared: Path) -> None:
    paths = sorted((shared / "photos").glob("*.JPEG"))
    labels = torch.tensor([PHOTOS[path.stem.partition("_")[2]] for path in paths])
    assert len(labels) == len(PHOTOS)
    net = build("resnet18", weights=shared / "weights" / "resnet18-imagenet-pq.safetensors").eval()
    preprocessing = Preprocessing(channels=3, resize=256, crop=(224, 224), mean=MEAN, std=STD)
    views = torch.stack([torch.from_numpy(preprocessing.view(decode(path, channels=3)).copy()) for path in paths])
    with torch.inference_mode():
        best = net(preprocessing.normalise(views)).topk(5, dim=1).indices
    assert int((best[:, 0] == labels).sum()) >= 16
    assert int((best == labels[:, None]).any(dim=1).sum()) >= 21

    names = tuple(str(index) for index in range(1000))
    classifier = Classifier(net=net, net_name="resnet18", preprocessing=preprocessing, class_names=names)
    predictions = classifier.predict(shared / "photos")
    assert [prediction.class_name for prediction in predictions] == [str(row[0]) for row in best.tolist()]
