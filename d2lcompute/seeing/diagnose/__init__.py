"""What is wrong with this net: `diagnose` lists findings, each with the fix."""

from .diagnose import diagnose as diagnose
from .findings import Diagnosis as Diagnosis
from .findings import Finding as Finding
