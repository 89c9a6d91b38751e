//! `critape gateway`.

use anyhow::{Context, Result};
use cri::client::Client;
use critape_gateway::{Auth, Config, Listen, Listener, Token, serve};

use super::many_threads;
use crate::args::GatewayArgs;
use crate::exit::Exit;
use crate::output;
use crate::signals;

pub(crate) fn run(args: &GatewayArgs) -> Result<Exit> {
    let endpoints = args.endpoints.asked().resolve()?;
    let listen: Listen = args.listen.parse()?;
    let made = if args.token_file.is_none() { Some(Token::random()?) } else { None };
    let auth = match (&listen, &args.token_file) {
        (_, Some(path)) => {
            let text =
                std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
            Auth::Token(text.parse().with_context(|| format!("{}", path.display()))?)
        }
        (Listen::Unix(_), None) => Auth::UnixSocket,
        _ if args.no_auth => Auth::None,
        (_, None) => Auth::Token(made.clone().context("making a token")?),
    };
    many_threads()?.block_on(async {
        let shutdown = signals::shutdown()?;
        // A gateway to nothing is of no use to anyone; one whose runtime restarts is.
        Client::connect(&endpoints.runtime).await?;
        let listener = Listener::bind(&listen).await?;
        output::say(format_args!("listening on {}", listener.at()));
        if let (Auth::Token(_), Some(token)) = (&auth, &made) {
            output::say(format_args!("token {}", token.reveal()));
        }
        serve(listener, Config::new(endpoints, auth), shutdown).await?;
        output::say(format_args!("stopped; the last requests were answered"));
        anyhow::Ok(())
    })?;
    Ok(Exit::Done)
}
