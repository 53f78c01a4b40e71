"""Speed and memory of the ops, the training step and decoding, in every implementation, each checked first."""

from m2t_fast.benchmarking.case import BASELINES, Case, ways_on
from m2t_fast.benchmarking.cases import CASES, case_of
from m2t_fast.benchmarking.run import Options, Row, bench
from m2t_fast.benchmarking.sizes import SIZES, Size

__all__ = ["BASELINES", "CASES", "SIZES", "Case", "Options", "Row", "Size", "bench", "case_of", "ways_on"]
