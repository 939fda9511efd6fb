//! Text without an allocator.

use crate::sys::CStr;

/// A string of bounded length that ends with a NUL byte; what does not fit is
/// cut off.
pub struct Text {
    bytes: [u8; 256],
    length: usize,
}

impl Text {
    pub fn of(parts: &[&[u8]]) -> Self {
        let mut text = Self { bytes: [0; 256], length: 0 };
        for part in parts {
            let room = text.bytes.len() - 1 - text.length;
            let part = &part[..part.len().min(room)];
            text.bytes[text.length..text.length + part.len()].copy_from_slice(part);
            text.length += part.len();
        }
        text
    }

    pub fn as_cstr(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or(c"")
    }
}

/// A number in decimal.
pub fn decimal(mut number: u16, buffer: &mut [u8; 5]) -> &[u8] {
    let mut at = buffer.len();
    loop {
        at -= 1;
        buffer[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 || at == 0 {
            return &buffer[at..];
        }
    }
}

/// The value of the first word `key=value` of a kernel command line.
pub fn value<'a>(line: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    words(line).find_map(|word| word.strip_prefix(key))
}

/// The words of a kernel command line.
pub fn words(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|&byte| byte == b' ' || byte == b'\n' || byte == 0)
        .filter(|word| !word.is_empty())
}

/// The lines of a list, without empty ones.
pub fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty())
}

/// 32 hexadecimal digits, dashes anywhere, as 16 bytes.
pub fn uuid(text: &[u8]) -> Option<[u8; 16]> {
    let mut uuid = [0; 16];
    let mut digits = 0;
    for &byte in text.iter().filter(|&&byte| byte != b'-') {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            b'A'..=b'F' => byte - b'A' + 10,
            _ => return None,
        };
        *uuid.get_mut(digits / 2)? |= if digits % 2 == 0 { digit << 4 } else { digit };
        digits += 1;
    }
    (digits == 32).then_some(uuid)
}
