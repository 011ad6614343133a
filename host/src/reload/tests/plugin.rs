//! Invented contents of plugin files, and a starter that makes generations of them.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Barrier, Mutex};

use jackfield_contract::{Contract, MethodContract, Parameters, Schema};
use jackfield_plugin_api::abi::{Instance, Root};
use jackfield_plugin_api::manifest::{DeclaredMethod, Manifest, PanicStrategy};
use jackfield_plugin_api::{Plugin, Run};
use serde_json::Value;

use super::error;
use super::test_plugin::{Behaviour, RESOURCES, TestPlugin};
use crate::config::{Config, Isolation, PluginConfig, ReplacePolicy};
use crate::loader::{
    ContentHash, FileStamp, Inspection, KeptImage, LoadError, LoadErrorReason, StagedPlugin, plugin_name,
};
use crate::plugin::{
    BuiltInPlugin, Generation, GenerationFactory, GenerationLoadError, Probation, RetentionReason,
};
use crate::reload::generation_starter::GenerationStarter;
use crate::sync::lock;

/// The content of a plugin file.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// Tells contents apart; the hash is made of it.
    name: String,
    methods: Vec<DeclaredMethod>,

    /// The schema of the params of each method.
    params: Option<Value>,
    state: Option<u32>,
    behaviour: Behaviour,

    /// How the probe fails.
    probe_error: Option<LoadErrorReason>,

    /// How the start in the host fails.
    start_error: Option<LoadErrorReason>,

    /// Where the start fails.
    fails_in: Option<Isolation>,

    /// Whether a failed start leaves its code in the process.
    is_retained: bool,

    /// The start in the host waits here, and a test with it.
    start_barrier: Option<Arc<Barrier>>,
}

impl Content {
    /// Returns content with one method of its name.
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            methods: Vec::new(),
            params: None,
            state: None,
            behaviour: Behaviour::default(),
            probe_error: None,
            start_error: None,
            fails_in: None,
            is_retained: false,
            start_barrier: None,
        }
    }

    pub(super) fn with_method(mut self, method: &str) -> Self {
        self.methods.push(DeclaredMethod { name: method.to_owned(), run: Run::Blocking });
        self
    }

    /// Returns content whose methods describe their params with this schema.
    pub(super) fn with_params(mut self, schema: Value) -> Self {
        self.params = Some(schema);
        self
    }

    /// Returns what the content says about its methods.
    fn contract(&self) -> Arc<Contract> {
        let methods = self.methods.iter().map(|method| {
            let schema = self.params.clone().map(|schema| Schema::from_value(schema).unwrap());
            let params = schema.map_or(Parameters::Unknown, Parameters::Schema);
            MethodContract { params, ..MethodContract::unknown(&method.name) }
        });
        Arc::new(Contract::new(methods.collect()))
    }

    /// Returns content whose state can be transferred: a count.
    pub(super) fn with_count(mut self, count: u64) -> Self {
        self.state = TestPlugin::STATE;
        self.behaviour.count = count;
        self
    }

    pub(super) fn failing_to_export(mut self) -> Self {
        self.behaviour.fails_to_export = true;
        self
    }

    pub(super) fn failing_to_import(mut self) -> Self {
        self.behaviour.fails_to_import = true;
        self
    }

    /// Returns content that starts only if no other instance has this resource.
    pub(super) fn with_resource(mut self, resource: u64) -> Self {
        self.behaviour.resource = Some(resource);
        self
    }

    /// Returns content whose start in the host waits until a test waits at the barrier, too.
    pub(super) fn starting_at(mut self, barrier: &Arc<Barrier>) -> Self {
        self.start_barrier = Some(Arc::clone(barrier));
        self
    }

    /// Returns an error if an instance could not start at the moment.
    fn check_resource(&self) -> Result<(), LoadError> {
        match self.behaviour.resource {
            Some(resource) if lock(&RESOURCES).contains(&resource) => {
                Err(error(LoadErrorReason::StartFailed))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn failing_in_probe(mut self, reason: LoadErrorReason) -> Self {
        self.probe_error = Some(reason);
        self
    }

    pub(super) fn failing_to_start(mut self) -> Self {
        self.start_error = Some(LoadErrorReason::StartFailed);
        self
    }

    /// Returns content that does not start there.
    pub(super) fn failing_in(mut self, isolation: Isolation) -> Self {
        self.fails_in = Some(isolation);
        self
    }

    /// Returns content whose start in the host does not return.
    pub(super) fn hanging_in_start(mut self) -> Self {
        self.start_error = Some(LoadErrorReason::StartTimedOut);
        self.is_retained = true;
        self
    }

    /// Returns the methods that the content declares.
    pub(super) fn declared(&self) -> Vec<DeclaredMethod> {
        self.methods.clone()
    }

    pub(super) fn hash(&self) -> ContentHash {
        ContentHash::of(self.name.as_bytes())
    }

    pub(super) fn stage(&self, file: &OsStr, stamp: FileStamp) -> Result<StagedPlugin, LoadError> {
        let inspection = Inspection {
            file: file.into(),
            name: plugin_name(file).ok_or_else(|| error(LoadErrorReason::FileName))?,
            hash: self.hash(),
            size: 0,
            signed: None,
            signature_text: None,
            build_id: None,
            manifest: Manifest {
                abi: None,
                manifest: 1,
                api: "0.1.0".to_owned(),
                min_host: None,
                package: self.name.clone(),
                version: "0.1.0".to_owned(),
                panic: PanicStrategy::Unwind,
                state: self.state,
                methods: self.methods.clone(),
            },
            needed: Vec::new(),
            static_tls: None,
        };
        StagedPlugin::without_code(inspection, stamp)
    }
}

/// The contents that can be started, and where each generation was.
#[derive(Clone, Default)]
pub(super) struct Contents {
    by_hash: Arc<Mutex<BTreeMap<ContentHash, Content>>>,
    probed: Arc<Mutex<BTreeMap<ContentHash, Isolation>>>,
    started: Arc<Mutex<BTreeMap<u64, PluginConfig>>>,
}

impl Contents {
    /// Adds a content, or replaces how it behaves.
    pub(super) fn add(&self, content: &Content) {
        lock(&self.by_hash).insert(content.hash(), content.clone());
    }

    fn get(&self, hash: ContentHash) -> Content {
        lock(&self.by_hash)[&hash].clone()
    }

    /// Returns the configuration with which a generation was started.
    pub(super) fn config_of(&self, generation: &Generation) -> PluginConfig {
        lock(&self.started)[&generation.identity.number].clone()
    }

    /// Returns where a content was to run when it was probed last.
    pub(super) fn probed_for(&self, content: &Content) -> Isolation {
        lock(&self.probed)[&content.hash()]
    }
}

/// Makes generations of invented contents.
pub(super) struct TestStarter {
    factory: GenerationFactory,
    contents: Contents,
    images: Mutex<BTreeMap<u64, KeptImage>>,
}

impl TestStarter {
    pub(super) fn new(factory: GenerationFactory, contents: Contents) -> Self {
        Self { factory, contents, images: Mutex::default() }
    }
}

impl GenerationStarter for TestStarter {
    fn probe(&self, staged: &StagedPlugin, config: &Config) -> Result<(), LoadError> {
        let Inspection { hash, name, .. } = &staged.inspection;
        lock(&self.contents.probed).insert(*hash, config.isolation(name));
        let content = self.contents.get(*hash);
        if let Some(reason) = content.probe_error {
            return Err(error(reason));
        }
        if config.isolation(name) == Isolation::InProcess {
            staged.contract.set(content.contract());
        }
        match config.replace_policy(name) {
            ReplacePolicy::StartFirst => content.check_resource(),
            ReplacePolicy::StopFirst => Ok(()),
        }
    }

    fn start(
        &self,
        staged: StagedPlugin,
        number: u64,
        config: &Config,
        probation: Option<Probation>,
    ) -> Result<Generation, GenerationLoadError> {
        let content = self.contents.get(staged.inspection.hash);
        let name = staged.inspection.name.clone();
        let own = config.plugin.get(&name).cloned().unwrap_or_default();
        let is_to_fail = own.settings["fail"] == true || content.fails_in == Some(own.isolation);
        let asked_to_fail = is_to_fail.then_some(LoadErrorReason::StartFailed);
        lock(&self.contents.started).insert(number, own);
        if let Some(barrier) = &content.start_barrier {
            barrier.wait();
        }
        content.check_resource()?;
        if let Some(reason) = content.start_error.or(asked_to_fail) {
            let retained = content.is_retained.then_some(RetentionReason::StartNotDone);
            return Err(GenerationLoadError { error: error(reason), retained });
        }

        let behaviour = serde_json::to_vec(&content.behaviour).unwrap();
        let contract = content.contract();
        let plugin = BuiltInPlugin::with_instance(name, content.methods, move |host| {
            Instance::start(&Root::linked::<TestPlugin>(), host, &behaviour).expect("an instance")
        });
        let mut generation = self.factory.start_built_in(plugin, config).expect("its threads");
        generation.identity.number = number;
        lock(&self.images).insert(number, staged.image()?);
        generation.identity.hash = staged.inspection.hash.to_string();
        generation.state_schema = content.state;
        generation.contract = contract;
        generation.probation = probation;
        Ok(generation)
    }

    fn start_built_in(&self, plugin: BuiltInPlugin, config: &Config) -> io::Result<Generation> {
        self.factory.start_built_in(plugin, config)
    }

    fn reserve_number(&self) -> u64 {
        self.factory.reserve_number()
    }

    fn image(&self, generation: &Generation) -> Option<Result<KeptImage, LoadError>> {
        let images = lock(&self.images);
        let image = images.get(&generation.identity.number)?;
        Some(image.staged().and_then(|staged| staged.image()))
    }
}
