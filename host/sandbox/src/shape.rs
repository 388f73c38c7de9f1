//! What can be told of a component before it is compiled, and what is refused for it. One pass over the sections that reads
//! counts and lengths and no code: it costs about as much as reading the bytes, whatever they hold. Whether a component is
//! valid, the compiler says; how large a valid one may be is said here.

use crate::engine::TABLE_ELEMENTS_CEILING;
use std::ops::AddAssign;
use std::time::Duration;
use vespiary_kernel::call::Failure;
use vespiary_kernel::host::HostLimits;
use vespiary_kernel::quota::LimitHit;
use wasmparser::{ComponentTypeSectionReader, Parser, Payload};

/// What a component may cost before its first call. Numbers of things are sums over all its modules and inner components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// The component itself, bytes.
    pub component_bytes_max: u64,
    /// The longest it may take to compile. Where a compiler process is set, it is killed then; otherwise the call ends, and the
    /// work begun runs out on its own thread.
    pub compile_time_max: Duration,
    /// Memory of the compiler process, bytes. Without one there is no such limit.
    pub compile_memory_bytes_max: u64,
    /// How deep modules and components may lie in each other.
    pub nesting_max: u64,
    /// Modules and inner components.
    pub modules_max: u64,
    /// Instances, aliases, and lifted and lowered functions.
    pub instances_max: u64,
    /// Types of every sort.
    pub types_max: u64,
    /// Imports.
    pub imports_max: u64,
    /// Exports.
    pub exports_max: u64,
    /// Functions with a body.
    pub functions_max: u64,
    /// The body of one function, bytes.
    pub body_bytes_max: u64,
    /// Local variables of all functions. A few bytes declare fifty thousand.
    pub locals_max: u64,
    /// Data and element segments.
    pub segments_max: u64,
    /// Memory that is there from the start, bytes.
    pub initial_memory_bytes_max: u64,
    /// Table elements that are there from the start.
    pub initial_table_elements_max: u64,
}

impl Default for CompileLimits {
    /// Room for an interpreter of a large language; the largest components known need a tenth of most of these.
    fn default() -> Self {
        Self {
            component_bytes_max: 64 << 20,
            compile_time_max: Duration::from_secs(120),
            compile_memory_bytes_max: 2 << 30,
            nesting_max: 8,
            modules_max: 256,
            instances_max: 20_000,
            types_max: 100_000,
            imports_max: 20_000,
            exports_max: 100_000,
            functions_max: 250_000,
            body_bytes_max: 4 << 20,
            locals_max: 10_000_000,
            segments_max: 100_000,
            initial_memory_bytes_max: 256 << 20,
            initial_table_elements_max: TABLE_ELEMENTS_CEILING as u64,
        }
    }
}

impl CompileLimits {
    /// The same with what the host may spend on any component.
    #[must_use]
    pub fn with(self, limits: &HostLimits) -> Self {
        Self {
            component_bytes_max: limits.component_bytes,
            compile_time_max: Duration::from_millis(limits.compile_time_ms),
            compile_memory_bytes_max: limits.compile_memory_bytes,
            ..self
        }
    }
}

/// What was counted so far of one sort of thing.
#[derive(Debug)]
struct Count {
    what: &'static str,
    most: u64,
    found: u64,
}

/// Whether `bytes` is a component that is small enough to be compiled.
///
/// # Errors
/// What it is instead, or what it has too much of.
pub(crate) fn check(bytes: &[u8], limits: &CompileLimits) -> Result<(), Failure> {
    begins_as_component(bytes, limits.component_bytes_max)?;
    let count = |what, most| Count { what, most, found: 0 };
    let mut modules = count("modules and inner components", limits.modules_max);
    let mut instances = count("instances and aliases", limits.instances_max);
    let mut types = count("types", limits.types_max);
    let mut imports = count("imports", limits.imports_max);
    let mut exports = count("exports", limits.exports_max);
    let mut functions = count("functions", limits.functions_max);
    let mut locals = count("local variables", limits.locals_max);
    let mut segments = count("data and element segments", limits.segments_max);
    let mut memory = count("bytes of memory from the start", limits.initial_memory_bytes_max);
    let mut tables = count("table elements from the start", limits.initial_table_elements_max);
    let mut depth = Count { what: "levels of components in components", most: limits.nesting_max, found: 0 };
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(malformed)? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => {
                modules.add(1u32)?;
                depth.add(1u32)?;
            }
            Payload::End(_) => depth.found = depth.found.saturating_sub(1),
            Payload::TypeSection(s) => types.add(s.count())?,
            Payload::CoreTypeSection(s) => types.add(s.count())?,
            Payload::ComponentTypeSection(s) => types.add(declarations(s))?,
            Payload::ImportSection(s) => imports.add(s.count())?,
            Payload::ComponentImportSection(s) => imports.add(s.count())?,
            Payload::ExportSection(s) => exports.add(s.count())?,
            Payload::ComponentExportSection(s) => exports.add(s.count())?,
            Payload::InstanceSection(s) => instances.add(s.count())?,
            Payload::ComponentInstanceSection(s) => instances.add(s.count())?,
            Payload::ComponentAliasSection(s) => instances.add(s.count())?,
            Payload::ComponentCanonicalSection(s) => instances.add(s.count())?,
            Payload::FunctionSection(s) => functions.add(s.count())?,
            Payload::GlobalSection(s) => segments.add(s.count())?,
            Payload::ElementSection(s) => segments.add(s.count())?,
            Payload::DataSection(s) => segments.add(s.count())?,
            Payload::MemorySection(s) => {
                for declared in s {
                    let declared = declared.map_err(malformed)?;
                    let page = 1u64 << declared.page_size_log2.unwrap_or(16).min(16);
                    memory.add(declared.initial.saturating_mul(page))?;
                }
            }
            Payload::TableSection(s) => {
                for declared in s {
                    tables.add(declared.map_err(malformed)?.ty.initial)?;
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut size = Count { what: "bytes in one function", most: limits.body_bytes_max, found: 0 };
                size.add(body.range().len() as u64)?;
                for group in body.get_locals_reader().map_err(malformed)? {
                    locals.add(group.map_err(malformed)?.0)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// The types of a section, and what is declared inside them.
fn declarations(section: ComponentTypeSectionReader<'_>) -> u64 {
    // A type of an instance or component holds declarations of its own; each takes two bytes or more.
    u64::from(section.count()).max(section.range().len() as u64 / 16)
}

impl Count {
    fn add(&mut self, more: impl Into<u64>) -> Result<(), Failure> {
        self.found.add_assign(more.into().min(u64::MAX - self.found));
        if self.found <= self.most {
            return Ok(());
        }
        Err(Failure::Unrunnable(format!("it has more than {} {}; that many are not compiled", self.most, self.what)))
    }
}

fn malformed(error: wasmparser::BinaryReaderError) -> Failure {
    Failure::Unrunnable(crate::text::cause(format!("it does not compile: {error}")))
}

fn begins_as_component(bytes: &[u8], bytes_max: u64) -> Result<(), Failure> {
    let refuse = |why: String| Err(Failure::Unrunnable(why));
    if bytes.len() as u64 > bytes_max {
        let used = bytes.len() as u64;
        return Err(Failure::Limit(LimitHit { quota: "component-bytes".into(), limit: bytes_max, used }));
    }
    match bytes {
        [0, b'a', b's', b'm', 0x0d, 0, 1, 0, ..] => Ok(()),
        [0, b'a', b's', b'm', 1, 0, 0, 0, ..] => {
            refuse("it is a core WebAssembly module, not a component; make one with `wasm-tools component new`".into())
        }
        [0, b'a', b's', b'm', ..] => refuse("it is WebAssembly of a version this host does not know".into()),
        _ => refuse("it is not WebAssembly: the first four bytes are not \\0asm".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_component_is_told_apart() {
        let limits = CompileLimits { component_bytes_max: 64, ..CompileLimits::default() };
        let why = |bytes: &[u8]| match check(bytes, &limits) {
            Err(Failure::Unrunnable(why)) => why,
            other => panic!("{other:?}"),
        };
        assert!(why(b"\0asm\x01\0\0\0").contains("core WebAssembly module"));
        assert!(why(b"\0asm\x0e\0\x01\0").contains("version"));
        assert!(why(b"(component)").contains("not WebAssembly"));
        assert!(why(b"").contains("not WebAssembly"));
        let large = check(&[0; 65], &limits);
        assert!(matches!(&large, Err(Failure::Limit(hit)) if hit.quota == "component-bytes"), "{large:?}");
        check(b"\0asm\x0d\0\x01\0", &limits).unwrap();
    }
}
