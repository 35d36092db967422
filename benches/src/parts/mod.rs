//! The parts around a gateway under test: the ERP, the broker and the issuer, stood in for with programmable faults.
