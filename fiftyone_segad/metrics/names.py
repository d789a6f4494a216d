"""The metrics of an evaluation by name: how a person reads them, and what they say."""

from __future__ import annotations

METRICS = {
    "image_auroc": ("Image AUROC", "Chance that a defective image scores higher than a normal one; 0.5 is guessing."),
    "image_ap": ("Image AP", "Average precision: mean over all recalls, with the images sorted by score."),
    "image_f1max": (
        "Image F1, best (truth seen)",
        "F1 of images at the threshold that is best for it. It has seen the truth: an upper bound.",
    ),
    "pixel_auroc": (
        "Pixel AUROC",
        "The same as for images, of pixels; close to 1 with ease, as most pixels are far from any defect.",
    ),
    "pixel_ap": ("Pixel AP", "Average precision of pixels; low where defects are small."),
    "pixel_f1max": (
        "Pixel F1, best (truth seen)",
        "F1 of pixels at the threshold that is best for it. It has seen the truth: an upper bound.",
    ),
    "aupro_30": (
        "AUPRO up to 0.3",
        "Covered share of each defect, small ones counting as much as large ones, averaged over false-positive rates "
        "of pixels up to 0.3.",
    ),
    "aupro_05": ("AUPRO up to 0.05", "The same up to a rate of 0.05, which is nearer to use."),
    "aupimo": (
        "AUPIMO",
        "Covered share of the defects at pixel rates from 1e-5 to 1e-4 on normal images: with next to no false alarms.",
    ),
    "precision": ("Precision", "Share of the flagged images that are defective."),
    "recall": ("Recall", "Share of the defective images that are flagged at the threshold."),
    "fpr": ("False-alarm rate", "Share of the normal images that are flagged."),
    "image_f1": ("Image F1, own threshold", "Harmonic mean of precision and recall at the run's threshold."),
    "pixel_f1": ("Pixel F1, own masks", "F1 (Dice) of the predicted masks, pixel by pixel."),
    "region_precision": ("Region precision", "Share of the predicted regions that meet a defect."),
    "region_recall": ("Region recall", "Share of the defects that a predicted region meets."),
    "region_f1": ("Region F1", "Harmonic mean of region precision and region recall."),
    "n_normal": ("Normal images", "Number of images without a defect."),
    "n_anomalous": ("Defective images", "Number of images with a defect."),
}
"""Title and explanation of each."""

METRIC_NAMES = tuple(METRICS)
