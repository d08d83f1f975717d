//! Logging in, TLS, and keeping requests and answers in step.

use std::path::Path;
use std::process::Command;

use ingest::ErrorKind;
use ingest::source::mysql::connection::{Connection, MySqlOptions, SslMode};
use ingest::source::mysql::server_error::server_error_code;
use rstest::rstest;

use crate::support::{self, MariaDb};

#[tokio::test]
async fn logs_in_with_every_kind_of_account() {
    let plugins = support::interop().join("mariadb-plugins");
    assert!(
        plugins.exists(),
        "{plugins:?} is missing: run scripts/setup"
    );
    let server = MariaDb::start(&[&format!("--plugin-dir={}", plugins.display())]).await;
    server
        .run(&[
            "INSTALL SONAME 'auth_ed25519'",
            "CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('s3cret ü')",
            "CREATE USER native@'%' IDENTIFIED BY 'pw'",
            "CREATE USER empty@'%' IDENTIFIED BY ''",
        ])
        .await;
    for (user, password) in [("ed", "s3cret ü"), ("native", "pw"), ("empty", "")] {
        let mut connection = Connection::connect(&server.options(user, password))
            .await
            .unwrap();
        let me = connection
            .query_value("SELECT CURRENT_USER()")
            .await
            .unwrap();
        assert_eq!(me.as_deref(), Some(format!("{user}@%").as_str()));
        connection.close().await.unwrap();
        let error = Connection::connect(&server.options(user, "wrong"))
            .await
            .unwrap_err();
        assert_eq!(server_error_code(&error), Some(1045), "{user}: {error}");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let text = error.to_string();
        assert!(
            text.contains("password") && text.contains("28000") && !text.contains("wrong"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn an_unreachable_server_is_named() {
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let options = MySqlOptions::new("127.0.0.1", "u", ingest::config::Secret::new("p"));
    let error = Connection::connect(&MySqlOptions { port, ..options })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(
        error.to_string().contains(&format!("127.0.0.1:{port}")),
        "{error}"
    );
    assert!(error.to_string().contains("bind_address"), "{error}");
}

#[tokio::test]
async fn statements_and_row_streams_stay_in_step() {
    let server = MariaDb::shared().await;
    let mut connection = server.connect().await;
    let error = connection
        .query("SELECT * FROM nowhere.nothing")
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .contains("statement `SELECT * FROM nowhere.nothing`"),
        "{error}"
    );
    assert_eq!(error.kind(), ErrorKind::NotFound);

    let mut rows = connection
        .select("SELECT seq, 'x' FROM mysql.seq_1_to_100000")
        .await
        .unwrap();
    assert_eq!(rows.columns()[0].name, "seq");
    assert!(rows.columns()[0].unsigned);
    let first = rows.next_row().await.unwrap().unwrap();
    assert_eq!(first[..2], [0, 0]);
    assert_eq!(first[2..10], 1u64.to_le_bytes());
    // The rest is abandoned: the next statement must see its own answer.
    let value = connection.query_value("SELECT 'own'").await.unwrap();
    assert_eq!(value.as_deref(), Some("own"));

    let mut rows = connection
        .select("SELECT seq FROM mysql.seq_1_to_100000")
        .await
        .unwrap();
    let mut count = 0;
    while rows.next_row().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 100_000);
    assert!(rows.next_row().await.unwrap().is_none());

    let wide = connection
        .query_value("SELECT REPEAT('ab', 20000000)")
        .await
        .unwrap()
        .unwrap();
    assert_eq!(wide.len(), 40_000_000);
    assert!(connection.select("SET @a = 1").await.is_err());
    let zone = connection
        .query_value("SELECT CONCAT(@@time_zone, '|', @@sql_mode)")
        .await
        .unwrap();
    assert_eq!(zone.as_deref(), Some("+00:00|"));
}

#[tokio::test]
async fn a_cancelled_statement_does_not_answer_the_next() {
    let server = MariaDb::shared().await;
    let mut connection = server.connect().await;
    let limit = std::time::Duration::from_millis(100);
    assert!(
        tokio::time::timeout(limit, connection.query("SELECT SLEEP(5)"))
            .await
            .is_err()
    );
    let error = connection.query("SELECT 1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

#[tokio::test]
async fn a_killed_connection_is_retryable() {
    let server = MariaDb::shared().await;
    let mut connection = server.connect().await;
    server
        .run(&[&format!("KILL {}", connection.connection_id())])
        .await;
    let error = connection.query("SELECT 1").await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn verifies_the_server_as_the_mode_asks() {
    let directory = tempfile::TempDir::new().unwrap();
    let at = directory.path();
    make_certificates(at);
    let option = |name: &str, file: &str| format!("--ssl-{name}={}", at.join(file).display());
    let (ca, cert, key) = (
        option("ca", "ca.pem"),
        option("cert", "server.pem"),
        option("key", "server.key"),
    );
    let server = MariaDb::start(&[&ca, &cert, &key]).await;
    let connect = |host: &str, mode: SslMode, ca: &str| {
        let ssl_ca = (!ca.is_empty()).then(|| at.join(ca));
        let options = MySqlOptions {
            host: host.to_owned(),
            ssl_mode: mode,
            ssl_ca,
            ..server.lake()
        };
        async move {
            Connection::connect(&options)
                .await
                .map(|connection| connection.is_encrypted())
        }
    };
    assert!(!connect("127.0.0.1", SslMode::Disabled, "").await.unwrap());
    assert!(connect("127.0.0.1", SslMode::Preferred, "").await.unwrap());
    assert!(connect("127.0.0.1", SslMode::Required, "").await.unwrap());
    assert!(
        connect("127.0.0.1", SslMode::VerifyCa, "ca.pem")
            .await
            .unwrap()
    );
    assert!(
        connect("localhost", SslMode::VerifyIdentity, "ca.pem")
            .await
            .unwrap()
    );
    for (host, mode, ca, hint) in [
        ("127.0.0.1", SslMode::VerifyCa, "other.pem", "ssl-ca"),
        (
            "127.0.0.1",
            SslMode::VerifyIdentity,
            "ca.pem",
            "certificate",
        ),
        ("localhost", SslMode::VerifyIdentity, "", "ssl-ca"),
        (
            "localhost",
            SslMode::VerifyIdentity,
            "missing.pem",
            "missing.pem",
        ),
    ] {
        let error = connect(host, mode, ca).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[tokio::test]
async fn shows_its_own_certificate_where_an_account_asks_for_one() {
    let directory = tempfile::TempDir::new().unwrap();
    let at = directory.path();
    make_certificates(at);
    let option = |name: &str, file: &str| format!("--ssl-{name}={}", at.join(file).display());
    let server = MariaDb::start(&[
        &option("ca", "ca.pem"),
        &option("cert", "server.pem"),
        &option("key", "server.key"),
    ])
    .await;
    server
        .run(&["CREATE USER certified@'%' IDENTIFIED BY 'pw' REQUIRE X509"])
        .await;
    let connect = |files: Option<(&str, &str)>| {
        let options = MySqlOptions {
            ssl_mode: SslMode::Required,
            ssl_client: files.map(|(certificate, key)| (at.join(certificate), at.join(key))),
            ..server.options("certified", "pw")
        };
        async move { Connection::connect(&options).await.map(drop) }
    };
    // Any certificate that the server's authority has signed will do.
    connect(Some(("server.pem", "server.key"))).await.unwrap();
    assert!(connect(None).await.is_err());
    for (certificate, key, hint) in [
        ("missing.pem", "server.key", "missing.pem"),
        ("server.pem", "missing.key", "missing.key"),
        ("server.key", "server.key", "holds no certificate"),
        ("server.pem", "other.key", "ssl-key"),
    ] {
        let error = connect(Some((certificate, key))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(error.to_string().contains(hint), "{error}");
    }
}

#[rstest]
#[case(SslMode::Required)]
#[case(SslMode::VerifyCa)]
#[tokio::test]
async fn refuses_a_server_without_tls_when_it_is_required(#[case] mode: SslMode) {
    let server = MariaDb::shared().await;
    let directory = tempfile::TempDir::new().unwrap();
    make_certificates(directory.path());
    let ssl_ca = Some(directory.path().join("ca.pem"));
    let options = MySqlOptions {
        ssl_mode: mode,
        ssl_ca,
        ..server.lake()
    };
    let error = Connection::connect(&options).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("offers no TLS"), "{error}");
}

/// An authority, a server certificate for `localhost` only, and another authority.
fn make_certificates(at: &Path) {
    let script = "
        set -e
        for ca in ca other; do
            openssl req -x509 -newkey rsa:2048 -nodes -keyout $ca.key -out $ca.pem -days 30 -subj /CN=$ca
        done
        openssl req -newkey rsa:2048 -nodes -keyout server.key -out server.csr -subj /CN=server
        printf 'subjectAltName=DNS:localhost\\n' > server.ext
        openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 30 -extfile server.ext
    ";
    let made = Command::new("sh")
        .args(["-c", script])
        .current_dir(at)
        .output();
    let made = made.expect("sh is there");
    let text = String::from_utf8_lossy(&made.stderr);
    assert!(
        made.status.success(),
        "openssl failed (apt-get install -y openssl): {text}"
    );
}
