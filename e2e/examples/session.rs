//! Scratch.
use critape_e2e::session;
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let a: Vec<String> = std::env::args().collect();
    let place = session::Place { socket: a[1].clone().into(), folder: a[2].clone().into() };
    for line in session::run(&place).await { println!("{line}"); }
}
