"""The photos of the shared folder, each with its class among ImageNet's 1,000."""

from __future__ import annotations

PHOTOS = {
    "hen": 8, "robin": 15, "great_grey_owl": 24, "tree_frog": 31, "golden_retriever": 207, "Siberian_husky": 250,
    "tabby": 281, "lion": 291, "zebra": 340, "ox": 345, "African_elephant": 386, "airliner": 404, "airship": 405,
    "ambulance": 407, "beacon": 437, "container_ship": 510, "fire_engine": 555, "fountain": 562, "garbage_truck": 569,
    "police_van": 734, "soccer_ball": 805, "sports_car": 817, "warplane": 895, "banana": 954,
}  # fmt: skip
