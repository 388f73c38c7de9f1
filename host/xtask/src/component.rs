//! From core module to finished component: encode, validate, snapshot. What must never live here: files.

use wasmtime::component::{Component, ComponentExportIndex, Instance, Lift, Linker, Val, WasmList};
use wasmtime::error::Context;
use wasmtime::{Engine, Result, Store};
use wasmtime_wizer::{ComponentInstanceState, Wizer};
use wit_component::ComponentEncoder;

/// The interfaces whose `describe` a plugin is warmed up with: it takes nothing, and its answer is always the same.
const DESCRIBED: [&str; 2] = ["vespiary:plugin/tools@0.1.0", "vespiary:plugin/agent@0.1.0"];

/// Makes a component of a core module that carries its world.
pub(crate) fn encode(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    use anyhow::Context;
    let mut encoder = ComponentEncoder::default();
    encoder.validate(true).module(module).context("the module names no world")?;
    encoder.encode().context("the module does not fit its world")
}

/// Runs a component's start-up and freezes what it left, so that no call has to repeat it. `init` names the export to run.
/// It stays: wizer would remove it from the core module and leave the component referring to it. Without one, a plugin's
/// `describe` is run; a component that has none stays as it is.
pub(crate) fn snapshot(component: &[u8], init: Option<&str>) -> Result<Vec<u8>> {
    let engine = Engine::default();
    let start_up = match (init, describe(&Component::new(&engine, component)?)) {
        (Some(init), _) => init.to_owned(),
        (None, Some(interface)) => format!("{interface}#describe"),
        (None, None) => return Ok(component.to_owned()),
    };
    let mut wizer = Wizer::new();
    wizer.init_func(&start_up).keep_init_func(true);
    let (context, instrumented) = wizer.instrument_component(component)?;
    let instrumented = Component::new(&engine, &instrumented)?;
    let export = start_up_export(&instrumented, &start_up)
        .with_context(|| format!("the component has no export `{start_up}` to start up with"))?;

    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    let frozen = runtime.block_on(async {
        let mut store = Store::new(&engine, ());
        // Start-up may compute, and nothing else: an import that is called now would be frozen for every call to come.
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&instrumented)?;
        let instance = linker.instantiate_async(&mut store, &instrumented).await?;
        let function = instance.get_func(&mut store, export).context("start-up is no function")?;
        let mut answers = vec![Val::Bool(false); function.ty(&store).results().len()];
        function.call_async(&mut store, &[], &mut answers).await.with_context(|| format!("start-up `{start_up}`"))?;
        let mut state = State { store: &mut store, instance };
        wizer.snapshot_component(&context, &mut state).await
    })?;
    Component::new(&engine, &frozen).context("the snapshot is no component")?;
    Ok(frozen)
}

fn describe(component: &Component) -> Option<&'static str> {
    DESCRIBED.into_iter().find(|interface| component.get_export_index(None, interface).is_some())
}

/// A world's own export by its name, or an interface's as `interface#name`.
fn start_up_export(component: &Component, name: &str) -> Option<ComponentExportIndex> {
    match name.split_once('#') {
        None => component.get_export_index(None, name),
        Some((interface, name)) => {
            let interface = component.get_export_index(None, interface)?;
            component.get_export_index(Some(&interface), name)
        }
    }
}

/// What wizer reads the memories and globals of an instance through.
struct State<'a> {
    store: &'a mut Store<()>,
    instance: Instance,
}

impl State<'_> {
    /// Calls an accessor that wizer itself put there, so that one which is missing or fails is a bug of wizer's.
    async fn read<T: Lift + 'static, R>(
        &mut self,
        interface: &str,
        name: &str,
        read: impl FnOnce(&Store<()>, T) -> R,
    ) -> R {
        let store = &mut *self.store;
        let interface = self.instance.get_export_index(&mut *store, None, interface).expect("wizer's interface");
        let export = self.instance.get_export_index(&mut *store, Some(&interface), name).expect("wizer's accessor");
        let accessor = self.instance.get_typed_func::<(), (T,)>(&mut *store, export).expect("the accessor's type");
        let (value,) = accessor.call_async(&mut *store, ()).await.expect("an accessor cannot trap");
        read(store, value)
    }
}

impl ComponentInstanceState for State<'_> {
    async fn call_func_ret_list_u8(&mut self, instance: &str, func: &str, contents: impl FnOnce(&[u8]) + Send) {
        self.read(instance, func, |store, list: WasmList<u8>| contents(list.as_le_slice(store))).await;
    }

    async fn call_func_ret_s32(&mut self, instance: &str, func: &str) -> i32 {
        self.read(instance, func, |_, value| value).await
    }

    async fn call_func_ret_s64(&mut self, instance: &str, func: &str) -> i64 {
        self.read(instance, func, |_, value| value).await
    }

    async fn call_func_ret_f32(&mut self, instance: &str, func: &str) -> u32 {
        self.read(instance, func, |_, value: f32| value.to_bits()).await
    }

    async fn call_func_ret_f64(&mut self, instance: &str, func: &str) -> u64 {
        self.read(instance, func, |_, value: f64| value.to_bits()).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A component that counts how often it was started: `init` adds one, `count` tells.
    const COUNTER: &str = r#"(component
        (core module $m
            (global $n (mut i32) (i32.const 41))
            (func (export "init") (global.set $n (i32.add (global.get $n) (i32.const 1))))
            (func (export "count") (result i32) (global.get $n)))
        (core instance $i (instantiate $m))
        (func (export "init") (canon lift (core func $i "init")))
        (func (export "count") (result u32) (canon lift (core func $i "count"))))"#;

    fn count(component: &[u8]) -> u32 {
        let engine = Engine::default();
        let mut store = Store::new(&engine, ());
        let component = Component::new(&engine, component).unwrap();
        let instance = Linker::new(&engine).instantiate(&mut store, &component).unwrap();
        let count = instance.get_typed_func::<(), (u32,)>(&mut store, "count").unwrap();
        count.call(&mut store, ()).unwrap().0
    }

    #[test]
    fn start_up_is_frozen() {
        let component = wat::parse_str(COUNTER).unwrap();
        assert_eq!(count(&component), 41);
        assert_eq!(count(&snapshot(&component, Some("init")).unwrap()), 42);
    }

    #[test]
    fn start_up_that_asks_the_host_is_refused() {
        let asking = r#"(component
            (import "ask" (func $ask))
            (core func $asked (canon lower (func $ask)))
            (core module $m (import "" "ask" (func $ask)) (func (export "init") (call $ask)))
            (core instance $i (instantiate $m (with "" (instance (export "ask" (func $asked))))))
            (func (export "init") (canon lift (core func $i "init"))))"#;
        let error = format!("{:#}", snapshot(&wat::parse_str(asking).unwrap(), Some("init")).unwrap_err());
        assert!(error.contains("start-up `init`") && error.contains("ask"), "{error}");
    }

    #[test]
    fn a_component_without_start_up_stays_as_it_is() {
        let component = wat::parse_str(COUNTER).unwrap();
        assert_eq!(snapshot(&component, None).unwrap(), component);
    }

    #[test]
    fn a_missing_export_is_named() {
        let component = wat::parse_str(COUNTER).unwrap();
        let error = format!("{:#}", snapshot(&component, Some("begin")).unwrap_err());
        assert!(error.contains("begin"), "{error}");
    }
}
