//! The generated code as values: modules with their types, methods and errors.

/// The methods whose names have the same first segment.
#[derive(Debug)]
pub(crate) struct Module {
    /// The name, not escaped.
    pub(crate) name: String,
    /// The first segment of the method names.
    pub(crate) prefix: String,
    pub(crate) methods: Vec<Method>,
    /// The declared errors by code, each with its distinct meanings.
    pub(crate) errors: Vec<(i64, Vec<String>)>,
}

/// One method.
#[derive(Debug)]
pub(crate) struct Method {
    /// The full name in requests.
    pub(crate) name: String,
    /// The name of the function, not escaped.
    pub(crate) function: String,
    pub(crate) summary: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) deprecated: Option<String>,
    pub(crate) idempotent: bool,
    /// The codes of its errors, with what they mean.
    pub(crate) errors: Vec<(i64, String)>,
    /// `None` if it takes none.
    pub(crate) params: Option<Body>,
    pub(crate) result: Body,
}

/// The params or the result of a method.
#[derive(Debug)]
pub(crate) enum Body {
    Json(Type),
    /// Opaque bytes.
    Bytes,
}

/// The number of a type in its module.
pub(crate) type TypeId = usize;

/// A Rust type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Type {
    /// Any JSON value.
    Value,
    /// A JSON object.
    Map,
    Unit,
    Bool,
    Integer(&'static str),
    Float(&'static str),
    Text,
    List(Box<Type>),
    FixedList(Box<Type>, u64),
    Tuple(Vec<Type>),
    /// An object whose members have any name.
    Dictionary(Box<Type>),
    Optional(Box<Type>),
    Named(TypeId),
}

/// A type that the module defines.
#[derive(Debug)]
pub(crate) struct NamedType {
    pub(crate) name: String,
    pub(crate) docs: Docs,
    pub(crate) item: Item,
    /// Whether params contain it.
    pub(crate) is_sent: bool,
    /// Whether results contain it.
    pub(crate) is_received: bool,
}

/// The definition of a type.
#[derive(Debug)]
pub(crate) enum Item {
    Struct(StructItem),
    /// One of several strings.
    TextEnum(Vec<Variant>),
    Union(Tagging, Vec<Variant>),
    /// A type that contains itself without being an object.
    Newtype(Type),
}

/// The outcome for a schema: a type that needs a name, or one that exists.
#[derive(Debug)]
pub(crate) enum Built {
    Item(Item),
    Inline(Type),
}

/// The members of an object.
#[derive(Debug)]
pub(crate) struct StructItem {
    pub(crate) fields: Vec<Field>,
    /// The values of members with other names, if their type is known.
    pub(crate) additional: Option<Type>,
}

/// One member of an object.
#[derive(Debug)]
pub(crate) struct Field {
    /// The name in JSON.
    pub(crate) name: String,
    /// The name in Rust, not escaped.
    pub(crate) field: String,
    pub(crate) docs: Docs,
    pub(crate) is_required: bool,
    /// The type; [`Type::Optional`] if the member may be missing.
    pub(crate) ty: Type,
}

/// How the variants of a union are distinguished.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Tagging {
    /// `{"variant": content}`.
    External,
    /// By a member with this name.
    Internal(String),
    /// By their types: the first one that fits.
    Untagged,
}

/// A variant of an enum.
#[derive(Debug)]
pub(crate) struct Variant {
    /// The name in JSON; it has no meaning for an untagged union.
    pub(crate) name: String,
    /// The name in Rust.
    pub(crate) variant: String,
    pub(crate) docs: Docs,
    pub(crate) content: Option<Type>,
}

/// The description of a type or a member.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Docs {
    pub(crate) description: Option<String>,
    pub(crate) deprecated: bool,
    /// The default value, as JSON.
    pub(crate) default: Option<String>,
}

impl Type {
    /// Returns the type for which `null` stands for no value.
    pub(crate) fn or_null(self) -> Self {
        match self {
            Self::Optional(_) | Self::Value | Self::Unit => self,
            other => Self::Optional(Box::new(other)),
        }
    }

    /// Returns the type of a member that may be missing.
    pub(crate) fn or_missing(self) -> Self {
        match self {
            Self::Optional(_) => self,
            other => Self::Optional(Box::new(other)),
        }
    }

    /// Calls `visit` with each named type in this one, and whether it is stored in place, so that a
    /// type that contains itself needs a box.
    pub(crate) fn for_each_named(&self, in_place: bool, visit: &mut dyn FnMut(TypeId, bool)) {
        match self {
            Self::Named(id) => visit(*id, in_place),
            Self::List(inner) | Self::Dictionary(inner) => inner.for_each_named(false, visit),
            Self::FixedList(inner, _) | Self::Optional(inner) => inner.for_each_named(in_place, visit),
            Self::Tuple(members) => members.iter().for_each(|member| member.for_each_named(in_place, visit)),
            _ => {}
        }
    }
}

impl Item {
    /// Calls `visit` as [`Type::for_each_named`] does, for all types in this one.
    pub(crate) fn for_each_named(&self, visit: &mut dyn FnMut(TypeId, bool)) {
        match self {
            Self::Struct(item) => {
                item.fields.iter().for_each(|field| field.ty.for_each_named(true, visit));
                item.additional.iter().for_each(|ty| ty.for_each_named(false, visit));
            }
            Self::TextEnum(variants) | Self::Union(_, variants) => {
                let contents = variants.iter().filter_map(|variant| variant.content.as_ref());
                contents.for_each(|ty| ty.for_each_named(true, visit));
            }
            Self::Newtype(ty) => ty.for_each_named(true, visit),
        }
    }
}
