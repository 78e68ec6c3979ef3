//! Prints the man page: `cargo run --example man_page > /usr/local/share/man/man1/rondalla.1`.

#![expect(clippy::print_stdout, reason = "the page is the output")]

fn main() {
    print!("{}", rondalla::cli::args::manual::page());
}
