//! Compiles what only C can say to mimalloc.

fn main() {
    let source = "src/proxy/allocator.c";
    println!("cargo::rerun-if-changed={source}");
    let headers = std::env::var_os("DEP_MIMALLOC_INCLUDE_DIR").expect("libmimalloc-sys says where its headers are");
    cc::Build::new().file(source).include(headers).compile("eliteloop_allocator");
}
