# Copyright: (c) 2026, immutable.infra contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
"""SHA-256 of the wheels for the guest, as PyPI serves them. Another file of the same version is refused."""

from __future__ import annotations

from collections.abc import Mapping

ANY = "any"  # a wheel for every Python and architecture
# By requirement, then by the guest's Python and architecture.
HASHES: Mapping[str, Mapping[str, str]] = {
    "ansible-core==2.15.13": {
        ANY: "e7f50bbb61beae792f5ecb86eff82149d3948d078361d70aedb01d76bc483c30",
    },
    "ansible-core==2.17.14": {
        ANY: "34a49582a57c2f2af17ede2cefd3b3602a2d55d22089f3928570d52030cafa35",
    },
    "ansible-core==2.19.4": {
        ANY: "f218e2e8ce4cc95216c48c73badd9789f1dd6ea47e15667213491fb79589316c",
    },
    "importlib_resources==5.0.7": {
        ANY: "2238159eb743bd85304a16e0536048b3e991c531d1cd51c4a834d1ccf2829057",
    },
    "jinja2==3.1.6": {
        ANY: "85ece4451f492d0c13c5dd7c13a64681a86afae63a5f347908daf103ce6d2f67",
    },
    "MarkupSafe==3.0.3": {
        "3.9 aarch64": "0f4b68347f8c5eab4a13419215bdfd7f8c9b19f2b25520968adfad23eb0ce60c",
        "3.9 x86_64": "e8fc20152abba6b83724d7ff268c249fa196d8259ff481f3b1476383f8f24e42",
        "3.10 aarch64": "1ba88449deb3de88bd40044603fafffb7bc2b055d626a330323a9ed736661695",
        "3.10 x86_64": "f42d0984e947b8adf7dd6dde396e720934d12c506ce84eea8476409563607591",
        "3.11 aarch64": "6b5420a1d9450023228968e7e6a9ce57f65d148ab56d2313fcd589eee96a7a50",
        "3.11 x86_64": "0bf2a864d67e76e5c9a34dc26ec616a66b9888e25e7b9460e1c76d3293bd9dbf",
        "3.12 aarch64": "3a7e8ae81ae39e62a41ec302f972ba6ae23a5c5396c8e60113e9066ef893da0d",
        "3.12 x86_64": "d6dd0be5b5b189d31db7cda48b91d7e0a9795f31430b7f271219ab30f1d3ac9d",
        "3.13 aarch64": "133a43e73a802c5562be9bbcd03d090aa5a1fe899db609c29e8c8d815c5f6de6",
        "3.13 x86_64": "ccfcd093f13f0f0b7fdd0f198b90053bf7b2f02a3927a30e63f3ccc9df56b676",
        "3.14 aarch64": "f34c41761022dd093b4b6896d4810782ffbabe30f2d443ff5f083e0cbbb8c737",
        "3.14 x86_64": "457a69a9577064c05a97c41f4e65148652db078a3a509039e64d3467b9e7ef97",
    },
    "packaging==25.0": {
        ANY: "29572ef2b1f17581046b3a2227d5c611fb25ec70ca1ba8554b24b0e69331a484",
    },
    "PyYAML==6.0.3": {
        "3.9 aarch64": "3c5677e12444c15717b902a5798264fa7909e41153cdf9ef7ad571b704a63dd9",
        "3.9 x86_64": "0150219816b6a1fa26fb4699fb7daa9caf09eb1999f3b70fb6e786805e80375a",
        "3.10 aarch64": "b30236e45cf30d2b8e7b3e85881719e98507abed1011bf463a8fa23e9c3e98a8",
        "3.10 x86_64": "9c7708761fccb9397fe64bbc0395abcae8c4bf7b0eac081e12b809bf47700d0b",
        "3.11 aarch64": "10892704fc220243f5305762e276552a0395f7beb4dbf9b14ec8fd43b57f126c",
        "3.11 x86_64": "b8bb0864c5a28024fac8a632c443c87c5aa6f215c0b126c449ae1a150412f31d",
        "3.12 aarch64": "9149cad251584d5fb4981be1ecde53a1ca46c891a79788c0df828d2f166bda28",
        "3.12 x86_64": "ba1cc08a7ccde2d2ec775841541641e4548226580ab850948cbfda66a1befcdc",
        "3.13 aarch64": "ee2922902c45ae8ccada2c5b501ab86c36525b883eff4255313a253a3160861c",
        "3.13 x86_64": "0f29edc409a6392443abf94b9cf89ce99889a1dd5376d94316ae5145dfedd5d6",
        "3.14 aarch64": "501a031947e3a9025ed4405a168e6ef5ae3126c59f90ce0cd6f2bfc477be31b7",
        "3.14 x86_64": "c458b6d084f9b935061bc36216e8a69a7e293a2f1e68bf956dcd9e6cbcd143f5",
    },
}


def hash_of(requirement: str, python: str, architecture: str) -> str | None:
    """Return the hash of the wheel that pip chooses, in hexadecimal; None if this release does not know it."""
    known = HASHES.get(requirement, {})
    return known.get(ANY) or known.get(f"{python} {architecture}")
