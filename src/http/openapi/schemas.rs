//! The schemas of the document: collected from the types, and put into the form in which people read them best.
//!
//! Words such as ids and times are written out where they are used, what may be null has `null` among its types, and flattened parts stand where they appear.

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa::openapi::schema::{AdditionalProperties, AllOf, Array, ArrayItems, Object, OneOf, SchemaFormat, SchemaType, Type};
use utoipa::openapi::{KnownFormat, Ref, RefOr, Schema};

use super::vocabulary::{ID, Propagation};

const PREFIX: &str = "#/components/schemas/";

/// What has nothing to say most of the time, so that an example with all of it would show what never is.
const USUALLY_NULL: &[&str] = &[
    "audience",
    "compromised_at",
    "email",
    "permissions",
    "project",
    "project_id",
    "reason",
    "retained_hint",
    "retained_last_used_address",
    "retained_last_used_at",
    "retained_last_used_user_agent",
    "retained_until",
    "retired_at",
    "rotated_at",
    "team",
];

/// Collects schemas.
#[derive(Default)]
pub(in crate::http) struct Schemas {
    found: BTreeMap<String, RefOr<Schema>>,
    /// Names that two types claim: a mistake, which a test finds.
    clashes: Vec<String>,
}

/// What describes a part of a type.
type Parts = BTreeMap<String, RefOr<Schema>>;

/// Requests may leave out what may be null; answers have it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Answer,
}

impl Schemas {
    /// A body or a query of a request.
    pub(super) fn request<T: ToSchema>(&mut self) -> RefOr<Schema> {
        self.add::<T>(Direction::Request)
    }

    /// A body of an answer.
    pub(super) fn answer<T: ToSchema>(&mut self) -> RefOr<Schema> {
        self.add::<T>(Direction::Answer)
    }

    /// A page of a list, as `api::page::Items` writes it.
    pub(super) fn list<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let item = self.answer::<T>();
        let description = "What to send as `cursor` for the next page; null at the end.";
        let cursor = Object::builder().schema_type(or_null(SchemaType::new(Type::String))).description(Some(description)).examples([Value::Null]);
        let list = Object::builder()
            .property("items", Array::builder().items(item).description(Some("The items of this page.")))
            .property("next_cursor", cursor)
            .required("items")
            .required("next_cursor");
        self.insert(format!("{}List", T::name()), Schema::Object(closed(list.description(Some("A page of a list.")).build())))
    }

    /// What was changed, and how many nodes answer by it.
    pub(super) fn confirmed<T: ToSchema>(&mut self) -> RefOr<Schema> {
        let known = self.found.contains_key(&*T::name());
        self.answer::<T>();
        let propagation = self.answer::<Propagation>();
        let Some(RefOr::T(Schema::Object(mut object))) = self.found.get(&*T::name()).cloned() else { return Object::new().into() };
        if !known {
            // Perhaps it is nowhere without.
            self.found.remove(&*T::name());
        }
        object.properties.insert("propagation".to_owned(), propagation);
        object.required.push("propagation".to_owned());
        self.insert(format!("{}Confirmed", T::name()), Schema::Object(object))
    }

    /// All of them, and the names that two types claim.
    pub(super) fn into_inner(self) -> (BTreeMap<String, RefOr<Schema>>, Vec<String>) {
        (self.found, self.clashes)
    }

    /// What a reference means.
    pub(super) fn resolve<'a>(&'a self, schema: &'a RefOr<Schema>) -> Option<&'a Schema> {
        match schema {
            RefOr::T(schema) => Some(schema),
            RefOr::Ref(reference) => match self.found.get(name(reference)) {
                Some(RefOr::T(schema)) => Some(schema),
                _ => None,
            },
        }
    }

    fn add<T: ToSchema>(&mut self, direction: Direction) -> RefOr<Schema> {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        let mut parts: Parts = parts.into_iter().collect();
        let root = T::name().into_owned();
        parts.insert(root.clone(), T::schema());
        // What was only flattened into others is referred to by nobody, and so it is added from the root on.
        let mut wanted = vec![root.clone()];
        while let Some(next) = wanted.pop() {
            if let Some(part) = parts.get(&next) {
                let schema = tidy(part.clone(), &parts, direction);
                references(&schema, &mut |name| {
                    if !self.found.contains_key(name) && name != next {
                        wanted.push(name.to_owned());
                    }
                });
                if self.found.get(&next).is_some_and(|other| *other != schema) {
                    self.clashes.push(next.clone());
                }
                self.found.insert(next, schema);
            }
        }
        RefOr::Ref(Ref::from_schema_name(root))
    }

    fn insert(&mut self, name: String, schema: Schema) -> RefOr<Schema> {
        self.found.insert(name.clone(), schema.into());
        RefOr::Ref(Ref::from_schema_name(name))
    }

    /// Something that fits a schema: put together from the examples of what it is made of.
    pub(super) fn example(&self, schema: &RefOr<Schema>) -> Value {
        match self.resolve(schema) {
            Some(Schema::Object(object)) => self.example_of_object(object),
            Some(Schema::Array(array)) => match (array.examples.first(), &array.items) {
                (Some(example), _) => sorted(example),
                (None, ArrayItems::RefOrSchema(item)) => Value::Array(vec![self.example(item)]),
                (None, ArrayItems::False) => Value::Array(Vec::new()),
            },
            Some(Schema::OneOf(OneOf { items, .. })) => items.first().map_or(Value::Null, |item| self.example(item)),
            _ => Value::Null,
        }
    }

    fn example_of_object(&self, object: &Object) -> Value {
        if let Some(example) = object.examples.first() {
            return sorted(example);
        }
        if let Some(value) = object.enum_values.as_ref().and_then(|values| values.first()) {
            return value.clone();
        }
        match &object.schema_type {
            SchemaType::Type(Type::Object) => {
                let example = |name: &str, property: &RefOr<Schema>| {
                    if USUALLY_NULL.contains(&name) && may_be_null(property) { Value::Null } else { self.example(property) }
                };
                let members = object.properties.iter().map(|(name, property)| (name.clone(), example(name, property)));
                sorted(&Value::Object(members.collect()))
            }
            SchemaType::Type(Type::Integer | Type::Number) => Value::from(1),
            SchemaType::Type(Type::Boolean) => Value::Bool(true),
            SchemaType::Type(Type::String) if object.format == Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)) => Value::from(ID),
            SchemaType::Type(Type::String) => Value::from("text"),
            _ => Value::Null,
        }
    }
}

/// The same value with the members of objects in the order of their names: how `serde_json` orders them depends on what else is compiled.
pub(super) fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let members: BTreeMap<_, _> = members.iter().map(|(name, value)| (name.clone(), sorted(value))).collect();
            Value::Object(Map::from_iter(members))
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

/// The name that a reference ends with.
fn name(reference: &Ref) -> &str {
    reference.ref_location.strip_prefix(PREFIX).unwrap_or_default()
}

fn tidy(schema: RefOr<Schema>, parts: &Parts, direction: Direction) -> RefOr<Schema> {
    match schema {
        RefOr::Ref(reference) => match parts.get(name(&reference)) {
            Some(RefOr::T(Schema::Object(word))) if word.properties.is_empty() => described(word.clone(), Some(reference.description)).into(),
            _ => RefOr::Ref(reference),
        },
        RefOr::T(Schema::OneOf(choice)) => tidy_choice(choice, parts, direction),
        RefOr::T(Schema::AllOf(all)) => Schema::Object(tidy_object(merged(all, parts), parts, direction)).into(),
        RefOr::T(Schema::Array(mut array)) => {
            if let ArrayItems::RefOrSchema(item) = array.items {
                array.items = ArrayItems::RefOrSchema(Box::new(tidy(*item, parts, direction)));
            }
            array.examples = examples(array.examples, array.example.take());
            Schema::Array(array).into()
        }
        RefOr::T(Schema::Object(object)) => Schema::Object(tidy_object(object, parts, direction)).into(),
        other @ RefOr::T(_) => other,
    }
}

/// A type or null: one schema with both types, where it is not a reference.
fn tidy_choice(mut choice: OneOf, parts: &Parts, direction: Direction) -> RefOr<Schema> {
    choice.items = choice.items.into_iter().map(|item| tidy(item, parts, direction)).collect();
    let is_null = |item: &RefOr<Schema>| matches!(item, RefOr::T(Schema::Object(it)) if it.schema_type == SchemaType::Type(Type::Null));
    if let [RefOr::T(Schema::Object(word)), null] = choice.items.as_slice()
        && is_null(null)
    {
        let mut word = described(word.clone(), choice.description);
        word.schema_type = or_null(word.schema_type);
        if let Some(values) = &mut word.enum_values {
            values.push(Value::Null);
        }
        return Schema::Object(word).into();
    }
    Schema::OneOf(choice).into()
}

fn tidy_object(mut object: Object, parts: &Parts, direction: Direction) -> Object {
    let properties = std::mem::take(&mut object.properties);
    object.properties = properties.into_iter().map(|(name, property)| (name, tidy(property, parts, direction))).collect();
    object.examples = examples(object.examples, object.example.take());
    object.additional_properties = object.additional_properties.map(|additional| match *additional {
        AdditionalProperties::RefOr(schema) => Box::new(AdditionalProperties::RefOr(tidy(schema, parts, direction))),
        free @ AdditionalProperties::FreeForm(_) => Box::new(free),
    });
    if direction == Direction::Answer && !object.properties.is_empty() {
        // What has nothing to say is null in an answer, and not left out.
        let nulls = object.properties.iter().filter(|(name, property)| may_be_null(property) && !object.required.contains(name));
        let nulls: Vec<_> = nulls.map(|(name, _)| name.clone()).collect();
        object.required.extend(nulls);
        object = closed(object);
    }
    object
}

/// Nothing but what is described is in it, unless it says otherwise.
fn closed(mut object: Object) -> Object {
    if object.additional_properties.is_none() {
        object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
    }
    object
}

/// The examples of a schema, in the form of OpenAPI 3.1.
fn examples(examples: Vec<Value>, example: Option<Value>) -> Vec<Value> {
    examples.iter().chain(&example).map(sorted).collect()
}

fn described(mut word: Object, description: Option<String>) -> Object {
    word.examples = examples(word.examples, word.example.take());
    if let Some(description) = description.filter(|text| !text.is_empty()) {
        word.description = Some(description);
    }
    word
}

fn may_be_null(schema: &RefOr<Schema>) -> bool {
    let holds_null = |of: &SchemaType| match of {
        SchemaType::Type(of) => *of == Type::Null,
        SchemaType::Array(of) => of.contains(&Type::Null),
        SchemaType::AnyValue => false,
    };
    match schema {
        RefOr::T(Schema::Object(object)) => holds_null(&object.schema_type),
        RefOr::T(Schema::Array(array)) => holds_null(&array.schema_type),
        RefOr::T(Schema::OneOf(choice)) => choice.items.iter().any(may_be_null),
        _ => false,
    }
}

fn or_null(schema_type: SchemaType) -> SchemaType {
    match schema_type {
        SchemaType::Type(one) => SchemaType::Array(vec![one, Type::Null]),
        other => other,
    }
}

/// One object of the parts of another, its own part first.
fn merged(all: AllOf, parts: &Parts) -> Object {
    let mut whole = Object::builder().description(all.description).examples(all.examples.into_iter().chain(all.example)).build();
    for item in all.items.into_iter().rev() {
        let part = match item {
            RefOr::Ref(reference) => parts.get(name(&reference)).cloned(),
            own @ RefOr::T(_) => Some(own),
        };
        let object = match part {
            Some(RefOr::T(Schema::Object(object))) => object,
            Some(RefOr::T(Schema::AllOf(inner))) => merged(inner, parts),
            _ => continue,
        };
        whole.properties.extend(object.properties);
        whole.required.extend(object.required);
    }
    whole
}

/// Tells the names of all that a schema refers to.
fn references(schema: &RefOr<Schema>, tell: &mut impl FnMut(&str)) {
    match schema {
        RefOr::Ref(reference) => tell(name(reference)),
        RefOr::T(Schema::Object(object)) => {
            object.properties.values().for_each(|property| references(property, tell));
            if let Some(AdditionalProperties::RefOr(schema)) = object.additional_properties.as_deref() {
                references(schema, tell);
            }
        }
        RefOr::T(Schema::Array(Array { items: ArrayItems::RefOrSchema(item), .. })) => references(item, tell),
        RefOr::T(Schema::OneOf(choice)) => choice.items.iter().for_each(|item| references(item, tell)),
        RefOr::T(_) => {}
    }
}
