//! Validation of an upload under our own ceilings, which lie far below those of the format: a compiler's time and
//! memory grow with what they let through. Runs in the worker.

use wasmparser::{FuncValidator, FuncValidatorAllocations, FunctionBody, Operator, Parser, Payload, ValidPayload};
use wasmparser::{Validator, ValidatorResources, WasmFeatures};

use crate::error::LoadError;
use crate::text;

/// Functions with a body, all modules together.
pub(crate) const FUNCTIONS: u32 = 20_000;
/// Bytes of one function's body.
pub(crate) const FUNCTION_BYTES: usize = 512 << 10;
/// Locals of one function, parameters not counted.
pub(crate) const LOCALS: u32 = 5_000;
/// Blocks in blocks in one function.
pub(crate) const BLOCK_DEPTH: u32 = 1_000;
/// Values on the operand stack of one function.
pub(crate) const STACK_HEIGHT: u32 = 10_000;
/// Targets of one `br_table`.
pub(crate) const BR_TABLE_TARGETS: u32 = 5_000;
/// Modules and components in one another.
pub(crate) const NESTING: u32 = 16;
/// Entries of one section that is not code: types, imports, globals, exports, elements, data, aliases, instances.
pub(crate) const SECTION_ENTRIES: u32 = 20_000;
/// Sections of all kinds, nested ones included; custom sections are not compiled and not counted.
pub(crate) const SECTIONS: u32 = 5_000;
/// Parameters of one core function type.
pub(crate) const PARAMETERS: usize = 200;

/// WebAssembly 2.0 without its later proposals, and the component model without its asynchronous part.
const FEATURES: WasmFeatures = WasmFeatures::MUTABLE_GLOBAL
    .union(WasmFeatures::SATURATING_FLOAT_TO_INT)
    .union(WasmFeatures::SIGN_EXTENSION)
    .union(WasmFeatures::REFERENCE_TYPES)
    .union(WasmFeatures::MULTI_VALUE)
    .union(WasmFeatures::BULK_MEMORY)
    .union(WasmFeatures::SIMD)
    .union(WasmFeatures::FLOATS)
    .union(WasmFeatures::EXTENDED_CONST)
    .union(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::COMPONENT_MODEL);

/// Accepts what may be given to the compiler.
pub(crate) fn validate(bytes: &[u8]) -> Result<(), LoadError> {
    match validate_with(bytes, FEATURES) {
        Err(LoadError::NotAComponent(why)) => {
            // Is it wrong, or only ahead of what is switched on? The second pass is bounded by the same ceilings.
            match validate_with(bytes, WasmFeatures::all()) {
                Ok(()) => Err(LoadError::FeatureDisabled(why)),
                Err(_) => Err(LoadError::NotAComponent(why)),
            }
        }
        other => other,
    }
}

fn validate_with(bytes: &[u8], features: WasmFeatures) -> Result<(), LoadError> {
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut validator = Validator::new_with_features(features);
    let mut counted = Counted::default();
    let mut allocations = FuncValidatorAllocations::default();
    for payload in parser.parse_all(bytes) {
        let payload = payload.map_err(invalid)?;
        counted.check(&payload)?;
        if let ValidPayload::Func(function, body) = validator.payload(&payload).map_err(invalid)? {
            let mut function = function.into_validator(allocations);
            check_body(&mut function, &body, features)?;
            allocations = function.into_allocations();
        }
    }
    Ok(())
}

fn invalid(error: wasmparser::Error) -> LoadError {
    match error.missing_wasm_feature() {
        Some(_) => LoadError::FeatureDisabled(text::escape(&error.to_string(), 256)),
        None => LoadError::NotAComponent(text::escape(&error.to_string(), 256)),
    }
}

fn at_most(what: &str, count: u32, ceiling: u32) -> Result<(), LoadError> {
    if count > ceiling {
        return Err(LoadError::TooComplex(format!("{count} {what}, at most {ceiling}")));
    }
    Ok(())
}

#[derive(Default)]
struct Counted {
    functions: u32,
    sections: u32,
    depth: u32,
}

impl Counted {
    /// Looks at a section before the validator spends anything on it.
    fn check(&mut self, payload: &Payload<'_>) -> Result<(), LoadError> {
        let (what, entries) = match payload {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                self.depth += 1;
                at_most("components in one another", self.depth, NESTING)?;
                ("nested components", 1)
            }
            Payload::End(_) => {
                self.depth = self.depth.saturating_sub(1);
                return Ok(());
            }
            Payload::CodeSectionStart { count, .. } => {
                self.functions = self.functions.saturating_add(*count);
                at_most("functions", self.functions, FUNCTIONS)?;
                ("functions", *count)
            }
            Payload::CodeSectionEntry(body) => {
                let bytes = body.range().len();
                if bytes > FUNCTION_BYTES {
                    let detail = format!("a function of {bytes} bytes, at most {FUNCTION_BYTES}");
                    return Err(LoadError::TooComplex(detail));
                }
                return Ok(());
            }
            Payload::TypeSection(section) => {
                check_types(section)?;
                ("types", section.count())
            }
            Payload::ImportSection(section) => ("imports", section.count()),
            Payload::FunctionSection(section) => ("functions", section.count()),
            Payload::TableSection(section) => ("tables", section.count()),
            Payload::MemorySection(section) => ("memories", section.count()),
            Payload::GlobalSection(section) => ("globals", section.count()),
            Payload::ExportSection(section) => ("exports", section.count()),
            Payload::ElementSection(section) => ("element segments", section.count()),
            Payload::DataSection(section) => ("data segments", section.count()),
            Payload::DataCountSection { count, .. } => ("data segments", *count),
            Payload::InstanceSection(section) => ("core instances", section.count()),
            Payload::CoreTypeSection(section) => ("core types", section.count()),
            Payload::ComponentInstanceSection(section) => ("instances", section.count()),
            Payload::ComponentAliasSection(section) => ("aliases", section.count()),
            Payload::ComponentTypeSection(section) => ("types", section.count()),
            Payload::ComponentCanonicalSection(section) => ("canonical functions", section.count()),
            Payload::ComponentImportSection(section) => ("imports", section.count()),
            Payload::ComponentExportSection(section) => ("exports", section.count()),
            Payload::CustomSection(_) | Payload::Version { .. } => return Ok(()),
            _ => ("sections", 1),
        };
        self.sections += 1;
        at_most("sections", self.sections, SECTIONS)?;
        at_most(what, entries, SECTION_ENTRIES)
    }
}

fn check_types(section: &wasmparser::TypeSectionReader<'_>) -> Result<(), LoadError> {
    at_most("types", section.count(), SECTION_ENTRIES)?;
    for group in section.clone() {
        for ty in group.map_err(invalid)?.into_types() {
            if let wasmparser::CompositeInnerType::Func(function) = &ty.composite_type.inner {
                let widest = function.params().len().max(function.results().len());
                if widest > PARAMETERS {
                    let detail = format!("a function type of {widest} parameters or results, at most {PARAMETERS}");
                    return Err(LoadError::TooComplex(detail));
                }
            }
        }
    }
    Ok(())
}

fn check_body(
    function: &mut FuncValidator<ValidatorResources>,
    body: &FunctionBody<'_>,
    features: WasmFeatures,
) -> Result<(), LoadError> {
    let mut locals = 0_u32;
    for group in body.get_locals_reader().map_err(invalid)? {
        locals = locals.saturating_add(group.map_err(invalid)?.0);
        at_most("locals in a function", locals, LOCALS)?;
    }
    let mut reader = body.get_binary_reader();
    reader.set_features(features);
    function.read_locals(&mut reader).map_err(invalid)?;
    let mut operators = body.get_operators_reader().map_err(invalid)?;
    while !operators.eof() {
        let (operator, offset) = operators.read_with_offset().map_err(invalid)?;
        if let Operator::BrTable { targets } = &operator {
            at_most("targets of a br_table", targets.len(), BR_TABLE_TARGETS)?;
        }
        function.op(offset, &operator).map_err(invalid)?;
        at_most("blocks in one another", function.control_stack_height(), BLOCK_DEPTH)?;
        at_most("operands on the stack", function.operand_stack_height(), STACK_HEIGHT)?;
    }
    operators.finish().map_err(invalid)
}

#[cfg(test)]
#[path = "ceilings_tests.rs"]
mod tests;
