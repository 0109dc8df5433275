"""BibTeX entries: of mechpatch, of the method, and of the models that were looked into."""

from collections.abc import Iterable

from mechpatch.families import FAMILIES

PATCHING = "2309.16042"
# By arXiv id; authors and titles as the papers have them.
PAPERS = {
    PATCHING: (
        "zhang2023patching",
        "Zhang, Fred and Nanda, Neel",
        "Towards Best Practices of Activation Patching in Language Models: Metrics and Methods",
    ),
    "2502.21074": (
        "shen2025codi",
        "Shen, Zhenyi and Yan, Hanqi and Zhang, Linhai and Hu, Zhanghao and Du, Yali and He, Yulan",
        "{CODI}: Compressing Chain-of-Thought into Continuous Space via Self-Distillation",
    ),
    "2509.20317": (
        "wei2025simcot",
        "Wei, Xilin and Liu, Xiaoran and Zang, Yuhang and Dong, Xiaoyi and Cao, Yuhang and Wang, Jiaqi and Qiu, Xipeng "
        "and Lin, Dahua",
        "{SIM-CoT}: Supervised Implicit Chain-of-Thought",
    ),
    "2412.06769": (
        "hao2024coconut",
        "Hao, Shibo and Sukhbaatar, Sainbayar and Su, DiJia and Li, Xian and Hu, Zhiting and Weston, Jason and Tian, "
        "Yuandong",
        "Training Large Language Models to Reason in a Continuous Latent Space",
    ),
    "2505.15778": (
        "zhang2025soft",
        "Zhang, Zhen and He, Xuehai and Yan, Weixiang and Shen, Ao and Zhao, Chenyang and Wang, Shuohang and Shen, "
        "Yelong and Wang, Xin Eric",
        "Soft Thinking: Unlocking the Reasoning Potential of {LLMs} in Continuous Concept Space",
    ),
}


def bibtex(version: str, families: Iterable[str]) -> str:
    """The entries for what was computed with a version of mechpatch on models of these families."""
    papers = [paper for name in families if name in FAMILIES for paper in FAMILIES[name].papers]
    entries = [_entry(paper) for paper in dict.fromkeys((PATCHING, *papers))]
    return "\n\n".join((_software(version), *entries))


def _software(version: str) -> str:
    return _written(
        "software",
        "mechpatch",
        author="{The mechpatch authors}",
        title="mechpatch: Causal Analysis of Chain-of-Thought by Activation Patching",
        year="2026",
        version=version,
    )


def _entry(paper: str) -> str:
    key, author, title = PAPERS[paper]
    year = f"20{paper[:2]}"  # an arXiv id begins with year and month
    return _written("article", key, author=author, title=title, year=year, journal=f"arXiv preprint arXiv:{paper}")


def _written(kind: str, key: str, **fields: str) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join((f"@{kind}{{{key},", *lines, "}"))
