"""Tests that need CUDA; elsewhere they are skipped."""

import pytest
import torch

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
