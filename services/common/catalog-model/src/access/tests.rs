use jiff::civil::date;

use super::*;

/// `clerk` publishes permits; `tax` reads them over Kafka until the end of 2026.
fn catalog(status: &str) -> Catalog {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write(
        "departments.yaml",
        "clerk:\n  title: {en: Clerk}\n  sources: [urn:c]\ntax:\n  title: {en: Tax}\nwater:\n  title: {en: Water}\n",
    );
    write(
        "permit/permit.avsc",
        r#"{"type": "record", "name": "Permit", "fields": [{"name": "number", "type": "string"}]}"#,
    );
    write(
        "permit/dataset.yaml",
        "title: {en: Permits}\nauthorities: [clerk]\nkey: number\nversion: sequence\ncatalogue: {summary: {en: P}, \
         update_frequency: daily, share_type: unconditional, share_method: other, classification: general}\n",
    );
    for (grant, delivery) in [("tax", "kafka"), ("water", "pull")] {
        let text = format!(
            "subscriber: {grant}\ndataset: permit\nfields: [number]\npurpose: p\nlegal_basis: l\n\
             valid_from: 2026-01-01\nvalid_until: 2026-12-31\nstatus: {status}\ndelivery: {delivery}\n"
        );
        write(&format!("grants/{grant}.yaml"), &text);
    }
    let source = crate::yaml::load(folder.path()).unwrap();
    crate::plan::diff(&source, &Catalog::default()).unwrap().into_after()
}

fn lines(before: &Catalog, after: &Catalog, today: Date, has: &BTreeSet<Acl>) -> Vec<String> {
    let view = after.grants["tax"].view.clone();
    change(before, after, &Roles::default(), today, has)
        .lines()
        .into_iter()
        .map(|line| line.replace(&view, "VIEW"))
        .collect()
}

#[test]
fn departments_may_do_what_the_catalogue_says_and_nothing_else() {
    let (none, active) = (Catalog::default(), catalog("active"));
    let today = date(2026, 6, 1);
    let expected = [
        "+ access: User:clerk reads topic reject.clerk",
        "+ access: User:clerk reads as group clerk.*",
        "+ access: User:clerk writes topic publish.permit",
        "+ access: User:tax reads topic view.VIEW",
        "+ access: User:tax reads as group tax",
        "+ access: User:tax reads as group tax.*",
    ];
    assert_eq!(lines(&none, &active, today, &BTreeSet::new()), expected);
    let none = Roles::default();
    let has = access_of(&active, &none, today);
    assert!(change(&active, &active, &none, today, &has).is_empty());
}

#[test]
fn what_ends_is_taken_away_and_what_others_set_stays() {
    let (active, suspended) = (catalog("active"), catalog("suspended"));
    let today = date(2026, 6, 1);
    let mut has = access_of(&active, &Roles::default(), today);
    let by_hand = |principal: &str, topic: &str| Acl {
        principal: principal.to_owned(),
        operation: Operation::Read,
        resource: Resource::Topic(topic.to_owned()),
    };
    has.insert(by_hand("User:monitoring", "view.x"));
    has.insert(by_hand("User:tax", "own-topic"));
    let gone = [
        "- access: User:tax reads topic view.VIEW",
        "- access: User:tax reads as group tax",
        "- access: User:tax reads as group tax.*",
    ];
    assert_eq!(lines(&active, &suspended, today, &has), gone);
    assert_eq!(lines(&active, &active, date(2027, 1, 1), &has), gone, "expired");

    // More than granted, and a department that is no longer in the catalogue.
    has.insert(by_hand("User:water", "view.x"));
    assert_eq!(lines(&active, &active, today, &has), ["- access: User:water reads topic view.x"]);
    let mut without = active.clone();
    without.departments.remove("water");
    assert_eq!(lines(&active, &without, today, &has), ["- access: User:water reads topic view.x"]);
}

fn roles() -> Roles {
    Roles {
        principals: Principals { router: "User:freshet-router".to_owned(), ..Principals::default() },
        validator_group: "freshet.validator".to_owned(),
        router_group: "own.router".to_owned(),
        catalog_keeps_access: true,
    }
}

#[test]
fn what_a_role_has_too_much_of_the_bus_is_taken_away() {
    let (active, today, roles) = (catalog("active"), date(2026, 6, 1), roles());
    let mut has = access_of(&active, &roles, today);
    assert!(has.iter().any(|acl| acl.to_string() == "access: User:freshet-router reads as group own.router"));
    assert!(change(&active, &active, &roles, today, &has).is_empty());
    let give = |operation, resource| Acl { principal: "User:freshet-router".to_owned(), operation, resource };
    let foreign = give(Operation::Read, Resource::Topic("own-topic".to_owned()));
    let too_much = give(Operation::Write, Resource::TopicPrefix("publish.".to_owned()));
    has.extend([foreign, too_much.clone()]);
    let expected = AccessChange { add: Vec::new(), remove: vec![too_much] };
    assert_eq!(change(&active, &active, &roles, today, &has), expected);
    // Without its principal the router is nobody that we know.
    assert!(change(&active, &active, &Roles::default(), today, &has).is_empty());
}

/// A department's rights would be the role's too, and the other way round.
#[test]
fn a_role_has_a_user_of_its_own() {
    let (active, mut roles) = (catalog("active"), roles());
    assert_eq!(roles.check(&active), Ok(()));
    for (name, reason) in
        [("User:clerk", "is a department"), ("freshet-router", "is no principal"), ("User:", "is no principal")]
    {
        roles.principals.router = name.to_owned();
        let refused = roles.check(&active).unwrap_err();
        assert!(refused.starts_with("access.router: ") && refused.contains(reason), "{refused}");
    }
}

/// The table for whoever gives the rights by hand.
#[test]
fn the_page_says_what_each_role_needs() {
    let page = include_str!("../../../../../docs/security.md");
    let roles = Roles { router_group: "freshet.router".to_owned(), ..roles() };
    let rows: Vec<String> = Role::ALL
        .into_iter()
        .flat_map(|role| {
            let rights = roles.rights(role, &Catalog::default(), date(2026, 6, 1));
            let operations: BTreeSet<Operation> = rights.iter().map(|(operation, _)| *operation).collect();
            operations.into_iter().map(move |operation| {
                let on: BTreeSet<&Resource> =
                    rights.iter().filter(|(of, _)| *of == operation).map(|(_, resource)| resource).collect();
                let on: Vec<String> = on.into_iter().map(|resource| format!("`{resource}`")).collect();
                format!("| {} | {operation:?} | {} |", role.name(), on.join(", "))
            })
        })
        .collect();
    let of_the_page: Vec<&str> = page
        .lines()
        .filter(|line| Role::ALL.iter().any(|role| line.starts_with(&format!("| {} |", role.name()))))
        .collect();
    assert_eq!(of_the_page, rows, "docs/security.md should have\n{}", rows.join("\n"));
}
