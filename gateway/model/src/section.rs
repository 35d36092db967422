//! Custom sections of a component: bytes of our own, which no engine looks at.

/// The component with one more custom section at its end (WebAssembly core specification 2.0, 5.5.3).
pub fn append(component: &[u8], name: &str, text: &[u8]) -> Vec<u8> {
    let mut content = leb128(name.len());
    content.extend_from_slice(name.as_bytes());
    content.extend_from_slice(text);
    let mut longer = component.to_vec();
    longer.push(0);
    longer.extend(leb128(content.len()));
    longer.extend(content);
    longer
}

/// An unsigned number in LEB128 (WebAssembly core specification 2.0, 5.2.2).
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}
