//! Two shapes of the same type of values: numbers, texts, arrays and objects.

use super::fit::Fit;
use super::kinds::{Kinds, alternatives};
use super::walk::{Direction, Walk};
use super::{phrases, ranges, unmodelled, values};
use crate::schema::{ArrayShape, IntegerShape, Node, NumberShape, ObjectShape, Property, Shape, TextShape};

/// The patterns that schemars writes for maps whose keys are integers without and with a sign.
const UNSIGNED: &str = r"^\d+$";
const SIGNED: &str = r"^-?\d+$";

impl<'a> Walk<'a> {
    pub(super) fn shapes_fit(&mut self, narrow: &'a Node, wide: &'a Node) -> Fit {
        match (&narrow.shape, &wide.shape) {
            (Shape::Integer(narrow), Shape::Integer(wide)) => self.integers_fit(narrow, wide),
            (Shape::Integer(narrow), Shape::Number(wide)) => {
                let (least, greatest) = ranges::bounds(narrow);
                #[expect(clippy::cast_precision_loss, reason = "bounds of numbers are as imprecise")]
                let bound = |bound: Option<i128>| bound.map(|bound| bound as f64);
                self.bounds_fit((bound(least), bound(greatest)), (wide.minimum, wide.maximum))
            }
            (Shape::Number(narrow), Shape::Number(wide)) => self.numbers_fit(narrow, wide),
            (Shape::Number(narrow), Shape::Integer(_))
                if narrow.minimum < narrow.maximum.or(Some(f64::MAX)) =>
            {
                self.breaking(&self.words("must be an integer now", "may be a fraction now"))
            }
            (Shape::Text(narrow), Shape::Text(wide)) => self.texts_fit(narrow, wide),
            (Shape::Array(narrow), Shape::Array(wide)) => self.arrays_fit(narrow, wide),
            (Shape::Object(narrow), Shape::Object(wide)) => self.objects_fit(narrow, wide),
            (Shape::Null, Shape::Null) | (Shape::Boolean, Shape::Boolean) | (_, Shape::Any) => Fit::Yes,
            (Shape::Bytes, Shape::Bytes) => Fit::Yes,
            (Shape::Opaque, Shape::Opaque) => {
                let (left, right) = ((self.narrow.schema, narrow), (self.wide.schema, wide));
                match unmodelled::is_same(left, right, self.narrow.steps) {
                    true => Fit::Yes,
                    false => self.unknown("is described by means that are not compared, and has changed"),
                }
            }
            _ => self.unknown("is described by means that are not compared, and has changed"),
        }
    }

    fn integers_fit(&mut self, narrow: &IntegerShape, wide: &IntegerShape) -> Fit {
        self.bounds_fit(ranges::bounds(narrow), ranges::bounds(wide))
    }

    fn numbers_fit(&mut self, narrow: &NumberShape, wide: &NumberShape) -> Fit {
        self.bounds_fit((narrow.minimum, narrow.maximum), (wide.minimum, wide.maximum))
    }

    fn bounds_fit<N: PartialOrd + Copy + std::fmt::Display>(
        &mut self,
        narrow: (Option<N>, Option<N>),
        wide: (Option<N>, Option<N>),
    ) -> Fit {
        let mut fit = Fit::Yes;
        if let Some(bound) = wide.0.filter(|bound| narrow.0.is_none_or(|least| least < *bound)) {
            let (params, result) =
                (format!("must be at least {bound} now"), format!("may be less than {bound} now"));
            fit = self.breaking(&self.words(&params, &result));
        }
        if let Some(bound) = wide.1.filter(|bound| narrow.1.is_none_or(|greatest| greatest > *bound)) {
            let (params, result) =
                (format!("must be at most {bound} now"), format!("may be greater than {bound} now"));
            fit = self.breaking(&self.words(&params, &result));
        }
        fit
    }

    /// Compares lengths of texts (`unit` is `character`) and arrays.
    fn lengths_fit(
        &mut self,
        narrow: (u64, Option<u64>),
        wide: (Option<u64>, Option<u64>),
        unit: &str,
    ) -> Fit {
        let mut fit = Fit::Yes;
        if let Some(bound) = wide.0.filter(|bound| narrow.0 < *bound) {
            let bound = counted(bound, unit);
            let params = format!("must have at least {bound} now");
            fit = self.breaking(&self.words(&params, &format!("may have fewer than {bound} now")));
        }
        if let Some(bound) = wide.1.filter(|bound| narrow.1.is_none_or(|greatest| greatest > *bound)) {
            let bound = counted(bound, unit);
            let params = format!("must have at most {bound} now");
            fit = self.breaking(&self.words(&params, &format!("may have more than {bound} now")));
        }
        fit
    }

    fn texts_fit(&mut self, narrow: &TextShape, wide: &TextShape) -> Fit {
        let bounds = (narrow.min_length.unwrap_or(0), narrow.max_length);
        let fit = self.lengths_fit(bounds, (wide.min_length, wide.max_length), "character");
        match &wide.pattern {
            Some(_) if narrow.pattern != wide.pattern => fit.min(self.unknown("has another pattern now")),
            _ => fit,
        }
    }

    fn arrays_fit(&mut self, narrow: &'a ArrayShape, wide: &'a ArrayShape) -> Fit {
        let first_empty = |array: &'a ArrayShape, values: values::Values<'a>| {
            let at = array.prefix.iter().position(|node| values.is_empty(node));
            let rest = values.is_empty(&array.items).then_some(array.prefix.len());
            let length = at.or(rest).map(|length| length as u64);
            length.into_iter().chain(array.max_items).min()
        };
        let longest = first_empty(narrow, self.narrow);
        let bounds = (narrow.min_items.unwrap_or(0), longest);
        let mut fit = self.lengths_fit(bounds, (wide.min_items, first_empty(wide, self.wide)), "item");
        if wide.unique && !narrow.unique && longest.is_none_or(|longest| longest > 1) {
            // serde reads duplicates into a set, too, so that no caller need break.
            fit = fit
                .min(self.unknown(&self.words("should have no duplicates now", "may have duplicates now")));
        }

        let node = |array: &'a ArrayShape, at: usize| array.prefix.get(at).unwrap_or(&array.items);
        let exists = |at: usize| longest.is_none_or(|longest| (at as u64) < longest);
        let named = narrow.prefix.len().max(wide.prefix.len());
        for at in (0..named).take_while(|at| exists(*at)) {
            fit = fit.min(self.fits_at(format!("[{at}]"), node(narrow, at), node(wide, at)));
        }
        if exists(named) && !self.wide.is_empty(&wide.items) {
            fit = fit.min(self.fits_at("[]".to_owned(), &narrow.items, &wide.items));
        }
        fit
    }

    fn objects_fit(&mut self, narrow: &'a ObjectShape, wide: &'a ObjectShape) -> Fit {
        if !self.narrow.steps.take(narrow.properties.len() + wide.properties.len()) {
            return self.unknown("is too large to be compared");
        }
        let of_wide = by_name(wide);
        let of_narrow = by_name(narrow);

        let mut fit = Fit::Yes;
        for property in &wide.properties {
            let there = of_narrow.get(property.name.as_str());
            fit = fit.min(self.wide_member_fits(property, there.copied(), narrow));
        }
        for property in &narrow.properties {
            if !of_wide.contains_key(property.name.as_str()) && !self.narrow.is_empty(&property.node) {
                fit = fit.min(self.unnamed_member_fits(property, wide));
            }
        }
        fit.min(self.further_members_fit(narrow, wide))
    }

    /// Compares a member that the wide side names.
    fn wide_member_fits(
        &mut self,
        wide: &'a Property,
        narrow: Option<&'a Property>,
        object: &'a ObjectShape,
    ) -> Fit {
        let step = phrases::member(&wide.name);
        let mut fit = Fit::Yes;
        if wide.is_required && !narrow.is_some_and(|narrow| narrow.is_required) {
            let result = if narrow.is_some() { "may be missing now" } else { "is missing now" };
            fit = self.breaking_at(step.clone(), &self.words("is required now", result));
        }
        match narrow {
            Some(narrow) => fit.min(self.fits_at(step, &narrow.node, &wide.node)),
            None if wide.is_required => fit,
            // A struct without this member sends none of it, although its schema is open. A map
            // may.
            None if object.additional.shape == Shape::Any && !is_plain_map(object) => fit,
            None if object.names.is_some() => {
                fit.min(self.unknown("has changed in a way that is not decided"))
            }
            None => fit.min(self.fits_at(step, &object.additional, &wide.node)),
        }
    }

    /// Compares a member that the wide side does not name.
    fn unnamed_member_fits(&mut self, property: &'a Property, wide: &'a ObjectShape) -> Fit {
        let step = phrases::member(&property.name);
        if self.wide.is_empty(&wide.additional) {
            let result = "is new, and the old schema admits no further members";
            return self.breaking_at(step, &self.words("is refused now", result));
        }
        if wide.names.is_some() {
            return self.unknown("has changed in a way that is not decided");
        }
        self.fits_at(step, &property.node, &wide.additional)
    }

    /// Compares the members that neither side names.
    fn further_members_fit(&mut self, narrow: &'a ObjectShape, wide: &'a ObjectShape) -> Fit {
        if wide.additional.shape == Shape::Any && wide.names.is_none()
            || self.narrow.is_empty(&narrow.additional)
        {
            return Fit::Yes;
        }
        // A struct whose schema is open returns nothing but the members that it names. An object
        // that names none may be a map.
        let is_struct = narrow.additional.shape == Shape::Any && !narrow.properties.is_empty();
        if is_struct && self.direction == Direction::Result {
            return Fit::Yes;
        }
        if self.wide.is_empty(&wide.additional) {
            return self
                .breaking(&self.words("admits no further members any more", "may have further members now"));
        }

        let names = match (narrow.names.as_deref(), wide.names.as_deref()) {
            (_, None) => Fit::Yes,
            (a, b) if a == b => Fit::Yes,
            (Some(UNSIGNED), Some(SIGNED)) => Fit::Yes,
            (None | Some(SIGNED), Some(UNSIGNED)) | (None, Some(SIGNED)) => self.breaking(
                &self.words("admits only integers as names now", "may have other names than integers now"),
            ),
            _ => self.unknown("has another pattern of names now"),
        };
        names.min(self.fits_at(".*".to_owned(), &narrow.additional, &wide.additional))
    }

    /// Returns whether no value of the narrow node is one of the wide one, as far as types, lengths
    /// and the members that tell the variants of an enum apart show it; only the latter if
    /// `by_tag_only`.
    pub(super) fn excludes(&self, narrow: &'a Node, wide: &'a Node, by_tag_only: bool) -> bool {
        match (&narrow.shape, &wide.shape) {
            (Shape::Array(narrow), Shape::Array(wide)) if !by_tag_only => {
                let is_longer = |a: &ArrayShape, b: &ArrayShape| {
                    a.min_items.zip(b.max_items).is_some_and(|(least, greatest)| least > greatest)
                };
                is_longer(narrow, wide) || is_longer(wide, narrow)
            }
            (Shape::Object(narrow), Shape::Object(wide)) => self.excludes_object(narrow, wide, by_tag_only),
            _ => false,
        }
    }

    fn excludes_object(&self, narrow: &'a ObjectShape, wide: &'a ObjectShape, by_tag_only: bool) -> bool {
        if !self.narrow.steps.take(narrow.properties.len() + wide.properties.len()) {
            return false;
        }
        let of_wide = by_name(wide);

        let differs = |property: &'a Property| match of_wide.get(property.name.as_str()) {
            Some(other) if property.is_required || other.is_required => {
                self.excludes_value(&property.node, &other.node, by_tag_only)
            }
            Some(_) => false,
            None => property.is_required && wide.additional.shape == Shape::Never,
        };
        narrow.properties.iter().any(differs)
    }

    /// Returns whether the wide object requires a member that the narrow one does not have.
    pub(super) fn lacks_member(&self, narrow: &'a Node, wide: &'a Node) -> bool {
        let (Shape::Object(narrow), Shape::Object(wide)) = (&narrow.shape, &wide.shape) else { return false };
        let may_have_others = !matches!(narrow.additional.shape, Shape::Any | Shape::Never);
        if may_have_others || narrow.properties.is_empty() || !self.narrow.steps.take(narrow.properties.len())
        {
            return false;
        }
        let of_narrow = by_name(narrow);
        let mut required = wide.properties.iter().take_while(|property| property.is_required);
        required.any(|property| !of_narrow.contains_key(property.name.as_str()))
    }

    /// Returns whether two members have no value in common: other types, or other literals.
    fn excludes_value(&self, narrow: &'a Node, wide: &'a Node, by_tag_only: bool) -> bool {
        let narrow = alternatives(self.narrow.schema, narrow, self.narrow.steps);
        let wide = alternatives(self.wide.schema, wide, self.wide.steps);
        if !Kinds::of_all(&narrow).meets(Kinds::of_all(&wide)) {
            return !by_tag_only;
        }
        let ([narrow], [wide]) = (narrow.as_slice(), wide.as_slice()) else { return false };
        let (Shape::Literals(narrow), Shape::Literals(wide)) = (&narrow.shape, &wide.shape) else {
            return false;
        };
        let may_be_tags = !by_tag_only || (narrow.len() == 1 && wide.len() == 1);
        may_be_tags
            && self.narrow.steps.take(narrow.len().saturating_mul(wide.len()))
            && !narrow.iter().any(|a| wide.iter().any(|b| values::is_same(&a.value, &b.value)))
    }
}

fn by_name(object: &ObjectShape) -> std::collections::HashMap<&str, &Property> {
    object.properties.iter().map(|property| (property.name.as_str(), property)).collect()
}

fn counted(count: u64, unit: &str) -> String {
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

/// Returns whether all members of an object are those of a map.
fn is_plain_map(object: &ObjectShape) -> bool {
    object.is_map && object.properties.is_empty()
}
