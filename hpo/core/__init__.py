"""Types and contracts shared by all of hpo. Imports no other package of hpo."""
