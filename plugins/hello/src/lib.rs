//! The smallest plugin: one method that greets.

use jackfield_plugin_api::prelude::*;

struct Hello;

impl Plugin for Hello {
    fn start(_host: &Host) -> Result<Self, Error> {
        Ok(Hello)
    }
}

#[derive(serde::Deserialize, JsonSchema)]
struct Who {
    name: String,
}

impl Hello {
    fn greet(&self, who: Who) -> Result<String, Error> {
        Ok(format!("hello, {}", who.name))
    }
}

export_plugin!(Hello {
    /// Greets by name.
    inline "hello.greet" => greet,
});
