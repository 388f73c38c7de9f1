//! The attribute macros of `vespiary-sdk`. What lives here: reading a function's signature and doc comment. What must
//! never live here: behaviour. The code an attribute emits only names items of the SDK's `__private` module.

use proc_macro::TokenStream;
use proc_macro2::{Span, TokenStream as Tokens};
use quote::{format_ident, quote};
use syn::{Attribute, Expr, FnArg, ItemFn, Lit, LitStr, Meta, ReturnType, Type, parse_macro_input, spanned::Spanned};

/// Makes a function a tool. Its doc comment is the description callers read; its one argument is a struct that
/// implements `Deserialize` and `JsonSchema`; it returns `Result<T, E>`, where `T` implements `Serialize` and
/// `JsonSchema`, and `E` converts into the SDK's `Error`. It may also take no argument.
///
/// The tool's name is the function's, unless `#[tool(name = "other-name")]` says otherwise.
#[proc_macro_attribute]
pub fn tool(options: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    expand(Kind::Tool, options.into(), function).unwrap_or_else(syn::Error::into_compile_error).into()
}

/// Makes a function an agent. Its doc comment is the agent's summary; its one argument is a `Task<C>`, where `C`
/// implements `Deserialize` and `JsonSchema`; it returns `Result<T, E>` as a tool does.
#[proc_macro_attribute]
pub fn agent(options: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    expand(Kind::Agent, options.into(), function).unwrap_or_else(syn::Error::into_compile_error).into()
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Tool,
    Agent,
}

impl Kind {
    fn noun(self) -> &'static str {
        match self {
            Self::Tool => "a tool",
            Self::Agent => "an agent",
        }
    }
}

fn expand(kind: Kind, options: Tokens, function: ItemFn) -> syn::Result<Tokens> {
    let signature = &function.sig;
    refuse_unsupported(kind, &function)?;
    let name = name_option(kind, options)?
        .unwrap_or_else(|| LitStr::new(&signature.ident.to_string(), signature.ident.span()));
    check_name(&name)?;
    let description = description(kind, &function)?;
    let argument = argument(kind, &function)?;
    let output = output(kind, &function)?;

    let ident = &signature.ident;
    let visibility = &function.vis;
    let entry = match (kind, argument) {
        (Kind::Tool, Some(args)) => quote! {
            impl ::vespiary_sdk::tool::Tool for #ident {
                const ENTRY: ::vespiary_sdk::tool::Entry = ::vespiary_sdk::tool::Entry::new(
                    #name,
                    #description,
                    ::vespiary_sdk::__private::describe::<#args, #output>,
                    |arguments| ::vespiary_sdk::__private::call(arguments, #ident),
                );
            }
        },
        (Kind::Tool, None) => quote! {
            impl ::vespiary_sdk::tool::Tool for #ident {
                const ENTRY: ::vespiary_sdk::tool::Entry = ::vespiary_sdk::tool::Entry::new(
                    #name,
                    #description,
                    ::vespiary_sdk::__private::describe::<::vespiary_sdk::__private::NoArguments, #output>,
                    |arguments| ::vespiary_sdk::__private::call(
                        arguments,
                        |_: ::vespiary_sdk::__private::NoArguments| #ident(),
                    ),
                );
            }
        },
        (Kind::Agent, Some(task)) => quote! {
            impl ::vespiary_sdk::agent::Agent for #ident {
                const ENTRY: ::vespiary_sdk::agent::Entry = ::vespiary_sdk::agent::Entry::new(
                    #description,
                    ::vespiary_sdk::__private::describe_agent::<#task, #output>,
                    |task| ::vespiary_sdk::__private::run(task, #ident),
                );
            }
        },
        (Kind::Agent, None) => unreachable!("an agent without an argument was refused"),
    };

    // A braced struct lives among the types only, so the function keeps its name and stays callable in unit tests.
    let mark = format_ident!("{}", ident);
    Ok(quote! {
        #function

        #[doc(hidden)]
        #[allow(non_camel_case_types, missing_docs, unreachable_pub)]
        #visibility struct #mark {}

        #entry
    })
}

fn refuse_unsupported(kind: Kind, function: &ItemFn) -> syn::Result<()> {
    let signature = &function.sig;
    let noun = kind.noun();
    if let Some(asyncness) = signature.asyncness {
        return Err(syn::Error::new(asyncness.span(), format!("{noun} is not async: a cell runs one call at a time")));
    }
    if !signature.generics.params.is_empty() {
        return Err(syn::Error::new(
            signature.generics.span(),
            format!("{noun} cannot be generic: its schema is fixed"),
        ));
    }
    Ok(())
}

fn name_option(kind: Kind, options: Tokens) -> syn::Result<Option<LitStr>> {
    if options.is_empty() {
        return Ok(None);
    }
    let span = options.span();
    let usage = match kind {
        Kind::Tool => "expected `#[tool]` or `#[tool(name = \"other-name\")]`",
        Kind::Agent => "`#[agent]` takes no options",
    };
    match syn::parse2::<Meta>(options) {
        Ok(Meta::NameValue(pair)) if kind == Kind::Tool && pair.path.is_ident("name") => match pair.value {
            Expr::Lit(literal) => match literal.lit {
                Lit::Str(name) => Ok(Some(name)),
                other => Err(syn::Error::new(other.span(), usage)),
            },
            other => Err(syn::Error::new(other.span(), usage)),
        },
        _ => Err(syn::Error::new(span, usage)),
    }
}

/// The alphabet is the contract's: `wit/types.wit`, record `tool`.
fn check_name(name: &LitStr) -> syn::Result<()> {
    let text = name.value();
    let lawful = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if text.is_empty() || text.len() > 64 || !text.bytes().all(lawful) {
        let why = "a tool's name has 1 to 64 lower-case letters, digits, `-` and `_`; give another with `#[tool(name = \"...\")]`";
        return Err(syn::Error::new(name.span(), why));
    }
    Ok(())
}

fn description(kind: Kind, function: &ItemFn) -> syn::Result<String> {
    let lines: Vec<String> = function.attrs.iter().filter_map(doc_line).collect();
    let text = lines.iter().map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n");
    let text = text.trim().to_owned();
    if text.is_empty() {
        let why = format!("{} needs a doc comment: it is what a person or model reads to choose it", kind.noun());
        return Err(syn::Error::new(function.sig.ident.span(), why));
    }
    Ok(text)
}

fn doc_line(attribute: &Attribute) -> Option<String> {
    let Meta::NameValue(pair) = &attribute.meta else { return None };
    if !pair.path.is_ident("doc") {
        return None;
    }
    let Expr::Lit(literal) = &pair.value else { return None };
    let Lit::Str(line) = &literal.lit else { return None };
    Some(line.value())
}

fn argument(kind: Kind, function: &ItemFn) -> syn::Result<Option<Type>> {
    let signature = &function.sig;
    let wanted = match kind {
        Kind::Tool => "a tool takes one argument, a struct with a field for each parameter, or none",
        Kind::Agent => "an agent takes one argument, a `Task<C>`",
    };
    let mut inputs = signature.inputs.iter();
    let first = match inputs.next() {
        None if kind == Kind::Tool => return Ok(None),
        None => return Err(syn::Error::new(signature.ident.span(), wanted)),
        Some(FnArg::Receiver(receiver)) => return Err(syn::Error::new(receiver.span(), wanted)),
        Some(FnArg::Typed(argument)) => (*argument.ty).clone(),
    };
    match inputs.next() {
        Some(second) => Err(syn::Error::new(second.span(), wanted)),
        None => Ok(Some(first)),
    }
}

fn output(kind: Kind, function: &ItemFn) -> syn::Result<Type> {
    match &function.sig.output {
        ReturnType::Type(_, output) => Ok((**output).clone()),
        ReturnType::Default => {
            let why = format!("{} returns a `Result<T>`, where `T` is its answer", kind.noun());
            Err(syn::Error::new(Span::call_site(), why))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse_quote;

    fn why(kind: Kind, options: Tokens, function: ItemFn) -> String {
        expand(kind, options, function).unwrap_err().to_string()
    }

    #[test]
    fn a_tool_keeps_its_function_and_gains_an_entry() {
        let function = parse_quote! {
            /// Counts lines.
            ///
            /// Of text.
            pub fn count(args: CountArgs) -> Result<Count> { todo(args) }
        };
        let expanded = expand(Kind::Tool, quote!(name = "count-lines"), function).unwrap().to_string();
        assert!(expanded.contains("pub fn count (args : CountArgs)"), "{expanded}");
        assert!(expanded.contains(r#""count-lines" , "Counts lines.\n\nOf text.""#), "{expanded}");
        assert!(expanded.contains("pub struct count"), "{expanded}");
    }

    #[test]
    fn what_callers_need_is_asked_for() {
        let undocumented = parse_quote! { fn a(args: A) -> Result<B> {} };
        assert!(why(Kind::Tool, quote!(), undocumented).starts_with("a tool needs a doc comment"));
        let silent = parse_quote! { #[doc = "x"] fn a(args: A) {} };
        assert!(why(Kind::Agent, quote!(), silent).starts_with("an agent returns a `Result<T>`"));
    }

    #[test]
    fn signatures_that_cannot_be_are_refused() {
        let asynchronous = parse_quote! { #[doc = "x"] async fn a(args: A) -> Result<B> {} };
        assert!(why(Kind::Tool, quote!(), asynchronous).contains("not async"));
        let generic = parse_quote! { #[doc = "x"] fn a<T>(args: T) -> Result<B> {} };
        assert!(why(Kind::Tool, quote!(), generic).contains("cannot be generic"));
        let two = parse_quote! { #[doc = "x"] fn a(one: A, two: B) -> Result<C> {} };
        assert!(why(Kind::Tool, quote!(), two).contains("takes one argument"));
        let none = parse_quote! { #[doc = "x"] fn a() -> Result<C> {} };
        assert!(why(Kind::Agent, quote!(), none).contains("a `Task<C>`"));
    }

    #[test]
    fn names_keep_to_the_contracts_alphabet() {
        let function: ItemFn = parse_quote! { #[doc = "x"] fn a(args: A) -> Result<B> {} };
        let long = "x".repeat(65);
        for name in ["", "Count", "a.b", "a b", &long] {
            assert!(why(Kind::Tool, quote!(name = #name), function.clone()).starts_with("a tool's name has"), "{name}");
        }
        assert!(why(Kind::Agent, quote!(name = "x"), function.clone()).contains("takes no options"));
        assert!(why(Kind::Tool, quote!(title = "x"), function).starts_with("expected `#[tool]`"));
    }
}
