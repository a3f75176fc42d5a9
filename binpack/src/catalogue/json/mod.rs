//! A catalogue in a JSON file.

mod fields;

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::value::RawValue;

use self::fields::{Fields, bare, shown};
use super::Catalogue;
use crate::error::{Error, ErrorKind, Result};
use crate::file::read_file;
use crate::model::{
    CapacityType, GPU_MILLI, InstanceType, MAX_PRICE_MICROS, Offering, Resources, check_types, key,
};
use crate::price::micros;

/// The most bytes that are read of one file: a hundred times all types of the largest cloud.
const MAX_FILE_BYTES: u64 = 256 << 20;

/// A catalogue read from a JSON file: an array of instance types, or an object with it under
/// `instance_types`.
///
/// ```
/// let json = r#"[{
///     "name": "m7i.large",
///     "labels": {"kubernetes.io/arch": "amd64"},
///     "capacity": {"cpu": "2", "memory": "8Gi", "pods": 29},
///     "overhead": {"cpu": "70m", "memory": "1289Mi"},
///     "volume_limits": {"ebs.csi.aws.com": 26},
///     "offerings": [
///         {"zone": "us-east-1a", "capacity_type": "on-demand", "price": 0.1008},
///         {"zone": "us-east-1a", "capacity_type": "reserved", "price": "0.06", "available": 3}
///     ]
/// }]"#;
/// let catalogue = binpack::JsonCatalogue::read(json.as_bytes())?;
/// let it = &catalogue.types()[0];
/// assert_eq!((it.allocatable.cpu_milli, it.offerings[0].price_micros), (1_930, 100_800));
/// # Ok::<(), binpack::Error>(())
/// ```
///
/// - `capacity` has `cpu`, `memory` and `pods`, and may have `ephemeral-storage`,
///   `nvidia.com/gpu` and extended resources by their names; each is a Kubernetes quantity, in
///   quotes or as a number, and what is finer than the unit is rounded up.
/// - What is left for pods is the capacity less `overhead`, or `allocatable`, in which a resource
///   that is not named has its capacity; without both it is the capacity.
/// - An offering's `capacity_type` is `on-demand`, `spot` or `reserved`; its `price` is dollars per
///   hour, as a number or in quotes, read exactly and rounded up to a millionth; `available` is
///   how many can be had.
/// - `labels` and `volume_limits` may be left out. A field that is not known, or given twice, is an
///   error.
#[derive(Debug, Clone)]
pub struct JsonCatalogue {
    types: Arc<[InstanceType]>,
}

impl JsonCatalogue {
    /// Reads a file, at once and as a whole.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] if there is no such file, [`ErrorKind::Unavailable`] if it can't be
    /// read, else as [`read`](Self::read). Each names the file.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        read_file(path.as_ref(), Self::read)
    }

    /// Reads from `input`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] that names the type and the field, or the line and the column where
    /// it is no JSON; [`ErrorKind::Unavailable`] if `input` can't be read.
    pub fn read(input: impl Read) -> Result<Self> {
        let text = text(input)?;
        let document: &RawValue = serde_json::from_str(&text).map_err(|error| not_json(&error))?;
        let types = listed(document)?.into_iter().enumerate();
        let types: Arc<[_]> =
            types.map(|(at, value)| instance_type(at, value)).collect::<Result<_>>()?;
        check_types(&types)?;
        Ok(Self { types })
    }

    /// The types, in the file's order.
    #[must_use]
    pub fn types(&self) -> Arc<[InstanceType]> {
        self.types.clone()
    }
}

#[async_trait]
impl Catalogue for JsonCatalogue {
    async fn instance_types(&self) -> Result<Arc<[InstanceType]>> {
        Ok(self.types.clone())
    }
}

fn text(input: impl Read) -> Result<String> {
    let mut text = String::new();
    match input.take(MAX_FILE_BYTES + 1).read_to_string(&mut text) {
        Ok(read) if read as u64 > MAX_FILE_BYTES => {
            let problem = format!("the file is longer than {MAX_FILE_BYTES} bytes: split it");
            Err(Error::new(ErrorKind::Invalid, problem))
        }
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(Error::new(ErrorKind::Invalid, "the file is not UTF-8: correct it")
                .with_source(error))
        }
        Err(error) => Err(Error::new(ErrorKind::Unavailable, "the file can't be read: try again")
            .with_source(error)),
    }
}

/// The error says the line and the column.
fn not_json(error: &serde_json::Error) -> Error {
    Error::new(ErrorKind::Invalid, format!("the file is not JSON: {error}: correct it"))
}

fn listed(document: &RawValue) -> Result<Vec<&RawValue>> {
    let mut types = document;
    if document.get().starts_with('{') {
        let mut fields = Fields::of("the catalogue", "", document)?;
        types = fields.required("instance_types")?;
        fields.end()?;
    }
    serde_json::from_str(types.get()).map_err(|_| {
        let problem = "the catalogue: is no array of instance types: write [{…}, …]";
        Error::new(ErrorKind::Invalid, problem)
    })
}

fn instance_type(at: usize, value: &RawValue) -> Result<InstanceType> {
    let nameless = format!("instance type {at}, counted from 0");
    let mut fields = Fields::of(&nameless, "", value)?;
    let name = fields.name("name")?;
    let owner = format!("instance type {name}");
    let mut fields = fields.owned_by(&owner);

    let capacity = capacity(fields.object("capacity")?)?;
    let allocatable = allocatable(&mut fields, &capacity)?;
    let mut it = InstanceType::new(name, capacity).with_allocatable(allocatable);
    if let Some(mut labels) = fields.optional_object("labels")? {
        for (key, value) in labels.rest()? {
            let value = labels.text(&key, value)?;
            it.labels.insert(key.into(), value.into());
        }
        if it.labels.get(key::INSTANCE_TYPE).is_some_and(|label| *label != it.name) {
            let problem = "is not the type's name: make them agree or leave it out";
            return Err(labels.wrong(key::INSTANCE_TYPE, problem));
        }
    }
    if let Some(mut limits) = fields.optional_object("volume_limits")? {
        for (driver, limit) in limits.rest()? {
            let limit = limits.number(&driver, limit)?;
            it.volume_limits.insert(driver.into(), limit);
        }
    }
    it.offerings = fields.objects("offerings")?.into_iter().map(offering).collect::<Result<_>>()?;
    if it.offerings.is_empty() {
        return Err(fields.wrong("offerings", "is empty: say where and at what price it is sold"));
    }
    fields.end()?;
    Ok(it)
}

fn capacity(mut fields: Fields<'_>) -> Result<Resources> {
    let mut capacity = Resources::default();
    for name in ["cpu", "memory", "pods"] {
        let value = fields.required(name)?;
        set(&mut capacity, &fields, name, value)?;
    }
    set_rest(&mut capacity, &mut fields)?;
    Ok(capacity)
}

fn allocatable(fields: &mut Fields<'_>, capacity: &Resources) -> Result<Resources> {
    let mut allocatable = capacity.clone();
    let given = fields.optional_object("allocatable")?;
    match (given, fields.optional_object("overhead")?) {
        (Some(_), Some(_)) => {
            Err(fields.wrong("overhead", "is given beside allocatable: remove one"))
        }
        (Some(mut given), None) => {
            set_rest(&mut allocatable, &mut given)?;
            Ok(allocatable)
        }
        (None, Some(mut given)) => {
            let mut overhead = Resources::default();
            set_rest(&mut overhead, &mut given)?;
            capacity
                .checked_sub(&overhead)
                .ok_or_else(|| fields.wrong("overhead", "is above the capacity: lower it"))
        }
        (None, None) => Ok(allocatable),
    }
}

fn set_rest(resources: &mut Resources, fields: &mut Fields<'_>) -> Result<()> {
    let rest = fields.rest()?;
    rest.into_iter().try_for_each(|(name, value)| set(resources, fields, &name, value))
}

fn set(resources: &mut Resources, fields: &Fields<'_>, name: &str, value: &RawValue) -> Result<()> {
    match name {
        "cpu" => resources.cpu_milli = fields.amount(name, value, 1_000)?,
        "memory" => resources.memory_bytes = fields.amount(name, value, 1)?,
        "ephemeral-storage" => resources.ephemeral_bytes = fields.amount(name, value, 1)?,
        "pods" => resources.pods = fields.whole_amount(name, value)?,
        "nvidia.com/gpu" => {
            resources.gpu_milli = fields.whole_amount(name, value)?.saturating_mul(GPU_MILLI);
        }
        extended => {
            let amount = fields.whole_amount(extended, value)?;
            *resources = std::mem::take(resources).with_extended(extended, amount);
        }
    }
    Ok(())
}

fn offering(mut fields: Fields<'_>) -> Result<Offering> {
    let zone = fields.name("zone")?;
    let written = fields.name("capacity_type")?;
    let known = [CapacityType::OnDemand, CapacityType::Spot, CapacityType::Reserved];
    let Some(capacity_type) = known.into_iter().find(|known| known.as_str() == written) else {
        let problem = format!("is {written:?}: write on-demand, spot or reserved");
        return Err(fields.wrong("capacity_type", problem));
    };
    let price = fields.required("price")?;
    let price = match dollars(&bare(price)) {
        Some(price) if price <= MAX_PRICE_MICROS => price,
        Some(_) => {
            let problem = format!("is {}, above a million dollars: check its unit", shown(price));
            return Err(fields.wrong("price", problem));
        }
        None => {
            let problem = format!("is {}: write dollars per hour, such as 0.0416", shown(price));
            return Err(fields.wrong("price", problem));
        }
    };
    let mut offering = Offering::new(zone, capacity_type, price);
    if let Some(available) = fields.optional("available")? {
        offering = offering.with_available(fields.number("available", available)?);
    }
    fields.end()?;
    Ok(offering)
}

/// As [`micros`], of a number that may have an exponent, as JSON writers give small ones.
fn dollars(text: &str) -> Option<u64> {
    /// Beyond it a price is nothing, or absurd.
    const MAX_EXPONENT: usize = 32;

    let Some((number, exponent)) = text.split_once(['e', 'E']) else { return micros(text) };
    micros(number)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let exponent: i32 = exponent.parse().ok()?;
    let shift = usize::try_from(exponent.unsigned_abs()).ok().filter(|n| *n <= MAX_EXPONENT)?;
    let zeros = "0".repeat(shift);
    let (digits, point) = if exponent < 0 {
        (format!("{zeros}{whole}{fraction}"), whole.len())
    } else {
        (format!("{whole}{fraction}{zeros}"), whole.len() + shift)
    };
    let (whole, fraction) = digits.split_at(point);
    micros(&format!("{whole}.{fraction}0"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::labels;

    const CAPACITY: &str = r#""capacity": {"cpu": 4, "memory": "16Gi", "pods": 58}"#;
    const OFFERINGS: &str =
        r#""offerings": [{"zone": "a", "capacity_type": "spot", "price": 0.1}]"#;

    fn read(json: &str) -> Result<Vec<InstanceType>> {
        JsonCatalogue::read(json.as_bytes()).map(|catalogue| catalogue.types().to_vec())
    }

    /// The error of one type `x` with these fields.
    fn said(fields: &str) -> String {
        let json = format!(r#"[{{"name": "x", {fields}}}]"#);
        read(&json).expect_err(&json).to_string()
    }

    #[test]
    fn an_object_becomes_a_type() {
        let json = r#"{"instance_types": [{
            "name": "g5.xlarge",
            "labels": {"kubernetes.io/arch": "amd64", "zone\u002dless": ""},
            "capacity": {"cpu": "4", "memory": "16Gi", "pods": "58", "ephemeral-storage": "20Gi",
                "nvidia.com/gpu": 1, "vpc.amazonaws.com/efa": 2},
            "allocatable": {"cpu": 3.92, "memory": "14162Mi"},
            "volume_limits": {"ebs.csi.aws.com": 26},
            "offerings": [
                {"zone": "a", "capacity_type": "on-demand", "price": 1.006},
                {"zone": "a", "capacity_type": "spot", "price": "0.4124601"},
                {"zone": "b", "capacity_type": "reserved", "price": 5e-7, "available": 3}
            ]
        }, {"name": "plain", "capacity": {"cpu": 1, "memory": "1Gi", "pods": 8},
            "overhead": {"cpu": "100m", "memory": "10Mi"},
            "offerings": [{"zone": "a", "capacity_type": "spot", "price": 1E+1}]}]}"#;
        let capacity = Resources::new(4_000, 16 << 30)
            .with_pods(58)
            .with_ephemeral_bytes(20 << 30)
            .with_gpu_milli(1_000)
            .with_extended("vpc.amazonaws.com/efa", 2);
        let left = Resources { cpu_milli: 3_920, memory_bytes: 14_162 << 20, ..capacity.clone() };
        let mut g5 = InstanceType::new("g5.xlarge", capacity)
            .with_allocatable(left)
            .with_offering(Offering::new("a", CapacityType::OnDemand, 1_006_000))
            .with_offering(Offering::new("a", CapacityType::Spot, 412_461))
            .with_offering(Offering::new("b", CapacityType::Reserved, 1).with_available(3));
        g5.labels = labels([("kubernetes.io/arch", "amd64"), ("zone-less", "")]);
        g5.volume_limits.insert("ebs.csi.aws.com".into(), 26);
        let plain = InstanceType::new("plain", Resources::new(1_000, 1 << 30).with_pods(8))
            .with_allocatable(Resources::new(900, 1_014 << 20).with_pods(8))
            .with_offering(Offering::new("a", CapacityType::Spot, 10_000_000));
        assert_eq!(read(json).unwrap(), [g5, plain]);
        assert_eq!(read("[]").unwrap(), []);
    }

    #[test]
    fn errors_name_the_type_and_the_field() {
        let amounts = |amounts: &str| format!(r#""capacity": {{{amounts}}}"#);
        let cases = [
            (OFFERINGS.to_owned(), "capacity is missing"),
            (CAPACITY.to_owned(), "offerings is missing"),
            (format!(r#"{CAPACITY}, "offerings": []"#), "offerings is empty"),
            (format!(r#"{CAPACITY}, "offerings": {{}}"#), "offerings is not an array"),
            (format!(r#"{CAPACITY}, "offerings": [3]"#), "offerings[0] is not an object"),
            (format!(r#"{CAPACITY}, {OFFERINGS}, "color": 1"#), "color is not known here"),
            (format!("{CAPACITY}, {CAPACITY}"), "capacity is given twice"),
            (format!(r#"{CAPACITY}, "labels": {{"a": "", "a": ""}}"#), "labels.a is given twice"),
            (amounts(r#""cpu": 1, "memory": 1"#), "capacity.pods is missing"),
            (amounts(r#""cpu": -1, "memory": 1"#), "capacity.cpu is -1: write a quantity"),
            (
                amounts(r#""cpu": 1, "memory": "1GB""#),
                "capacity.memory is \"1GB\": write a quantity",
            ),
            (
                amounts(r#""cpu": 1, "memory": 1, "pods": 1, "nvidia.com/gpu": 0.5"#),
                "capacity.nvidia.com/gpu is 0.5: write whole ones",
            ),
            (format!(r#"{CAPACITY}, "overhead": {{"cpu": 5}}"#), "overhead is above the capacity"),
            (
                format!(r#"{CAPACITY}, "overhead": {{}}, "allocatable": {{}}"#),
                "overhead is given beside allocatable",
            ),
            (
                format!(r#"{CAPACITY}, {OFFERINGS}, "allocatable": {{"cpu": 5}}"#),
                "allocatable is above the capacity",
            ),
            (format!(r#"{CAPACITY}, "labels": {{"a": 1}}"#), "labels.a is 1: write text"),
            (
                format!(r#"{CAPACITY}, "labels": {{"node.kubernetes.io/instance-type": "y"}}"#),
                "labels.node.kubernetes.io/instance-type is not the type's name",
            ),
            (
                format!(r#"{CAPACITY}, "volume_limits": {{"d": -1}}"#),
                "volume_limits.d is -1: write a whole number",
            ),
        ];
        for (fields, expected) in cases {
            let said = said(&fields);
            assert!(said.starts_with(&format!("instance type x: {expected}")), "{said}");
        }
    }

    #[test]
    fn errors_name_the_offering_and_the_field() {
        let cases = [
            (r#""zone": """#, "zone is empty"),
            (
                r#""zone": "a", "capacity_type": "Spot", "price": 1"#,
                "capacity_type is \"Spot\": write on-demand",
            ),
            (r#""zone": "a", "capacity_type": "spot""#, "price is missing"),
            (r#""zone": "a", "zone": "b""#, "zone is given twice"),
        ];
        let prices = [
            ("-1", "price is -1: write dollars"),
            ("\"NaN\"", "price is \"NaN\": write dollars"),
            ("null", "price is null: write dollars"),
            ("1e300", "price is 1e300: write dollars"),
            ("1000001", "price is 1000001, above a million"),
            ("1, \"available\": true", "available is true: write a whole number"),
            ("1, \"from\": 3", "from is not known here"),
        ];
        let prices = prices.map(|(price, expected)| {
            (format!(r#""zone": "a", "capacity_type": "spot", "price": {price}"#), expected)
        });
        let cases = cases.map(|(fields, expected)| (fields.to_owned(), expected));
        for (fields, expected) in cases.into_iter().chain(prices) {
            let said = said(&format!(r#"{CAPACITY}, "offerings": [{{{fields}}}]"#));
            assert!(
                said.starts_with(&format!("instance type x: offerings[0].{expected}")),
                "{said}"
            );
        }
    }

    #[test]
    fn what_is_no_catalogue_is_refused() {
        let said = |json: &str| read(json).expect_err(json).to_string();
        let twice = format!(r#"[{{"name": "x", {CAPACITY}, {OFFERINGS}}}]"#);
        let one = &twice[1..twice.len() - 1];
        assert_eq!(
            said(&format!("[{one}, {one}]")),
            "instance type x: name is given twice: rename one"
        );
        assert!(said("[\n{,}]").contains("line 2 column 2"), "{}", said("[\n{,}]"));
        assert!(said("7").starts_with("the catalogue: is no array"));
        assert!(said("{}").starts_with("the catalogue: instance_types is missing"));
        assert!(said(r#"{"instance_types": [], "x": 1}"#).starts_with("the catalogue: x is not"));
        assert!(said("[[]]").starts_with("instance type 0, counted from 0: is not an object"));
        assert!(said("[{}]").starts_with("instance type 0, counted from 0: name is missing"));
        let not_utf8 = JsonCatalogue::read(&b"[\xff]"[..]).unwrap_err();
        assert_eq!(not_utf8.to_string(), "the file is not UTF-8: correct it");
        let missing = JsonCatalogue::open("/nonexistent/types.json").unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
        let endless = JsonCatalogue::read(io::repeat(b' ')).unwrap_err().to_string();
        assert!(endless.starts_with("the file is longer than"), "{endless}");
    }

    #[test]
    fn dollars_with_exponents_are_exact() {
        let cases = [
            ("1.25e-3", Some(1_250)),
            ("125E-5", Some(1_250)),
            ("1.2345678e2", Some(123_456_780)),
            ("1e+2", Some(100_000_000)),
            ("1e-9", Some(1)),
            ("0e0", Some(0)),
            ("1e", None),
            ("1e33", None),
            ("-1e1", None),
            ("1e1.5", None),
        ];
        for (text, expected) in cases {
            assert_eq!(dollars(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn hostile_bytes_never_panic_and_what_is_read_is_well_formed(
            amounts in prop::collection::vec("[0-9]{1,17}|\"[0-9.]{0,4}(|m|Gi|Ei)\"|[-0-9.eE]{0,6}", 6),
            noise in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let [cpu, memory, pods, gpus, price, available] = &amounts[..] else { unreachable!() };
            let json = format!(
                r#"[{{"name": "x", "capacity": {{"cpu": {cpu}, "memory": {memory}, "pods": {pods},
                    "nvidia.com/gpu": {gpus}}}, "offerings": [{{"zone": "a", "capacity_type": "spot",
                    "price": {price}, "available": {available}}}]}}]"#
            );
            if let Ok(types) = read(&json) {
                check_types(&types).expect("what is read passes the input's check");
            }
            let _ = JsonCatalogue::read(noise.as_slice());
            let _ = JsonCatalogue::read([b"[{\"name\":", noise.as_slice()].concat().as_slice());
        }

        #[test]
        fn a_number_and_its_text_are_the_same_price(price in 0.0..1e6f64) {
            let number = format!("{price:e}");
            prop_assert_eq!(dollars(&number), dollars(&price.to_string()));
        }
    }
}
