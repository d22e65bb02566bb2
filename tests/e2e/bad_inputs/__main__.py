"""Write the document anew."""

from tests.e2e.bad_inputs.document import write_document

write_document()
