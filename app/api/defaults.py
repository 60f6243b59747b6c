"""Which model serves a route when the request names none: what it needs, and the family that comes first."""

from app.core.types import Modality, Output

PAGES_AND_QUERIES = ((Modality.IMAGE, Output.MULTI_VECTOR), (Modality.TEXT, Output.MULTI_VECTOR))
"""Pages and queries in one space; asked for even where only one of the two is embedded."""
MULTI_VECTOR = frozenset({Output.MULTI_VECTOR})

VISUAL_FAMILY = "colqwen2.5"
SIMILARITY_FAMILY = "colpali"
ENDPOINT_FAMILY = "colqwen2"
FEATURES_FAMILY = "dinov3"
LATE_INTERACTION_FAMILY = "bge-m3"
"""Of hybrid vectors and reranking, where the default text model cannot do them."""
