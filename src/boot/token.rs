//! Finding the end of a stream that carries it in itself.
//!
//! The guest's kernel does not tell the host when a port is closed, so the
//! guest writes a line with a token behind a command's output.

/// Passes bytes on until the end mark, `\nTOKEN\n`, has come.
#[derive(Debug)]
pub(super) struct Filter {
    mark: Vec<u8>,
    /// Bytes that may be the start of the mark.
    held: Vec<u8>,
    ended: bool,
}

impl Filter {
    /// A filter for the end mark made of `token`.
    pub(super) fn new(token: &str) -> Self {
        Self {
            mark: format!("\n{token}\n").into_bytes(),
            held: Vec::new(),
            ended: false,
        }
    }

    /// Takes what has come, and returns what belongs to the stream for sure.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<u8> {
        if self.ended {
            return Vec::new();
        }
        self.held.extend(bytes);
        if let Some(at) = find(&self.held, &self.mark) {
            self.ended = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        // The longest end that the mark may begin with stays.
        let longest = self.held.len().min(self.mark.len() - 1);
        let kept = (0..=longest)
            .rev()
            .find(|&length| self.held.ends_with(&self.mark[..length]))
            .unwrap_or(0);
        let rest = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, rest)
    }

    /// Whether the mark has come.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }
}

fn find(bytes: &[u8], mark: &[u8]) -> Option<usize> {
    bytes.windows(mark.len()).position(|window| window == mark)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn however_it_is_cut_all_bytes_before_the_mark_come_through(
            // Few letters, so that parts of the mark are frequent.
            output in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'a'), Just(b'b'), Just(0)], 0..60),
            after in proptest::collection::vec(any::<u8>(), 0..10),
            cuts in proptest::collection::vec(1usize..9, 1..40),
        ) {
            let token = "abab";
            prop_assume!(find(&output, b"\nabab\n").is_none());
            let mut stream = output.clone();
            stream.extend(b"\nabab\n");
            prop_assume!(find(&stream, b"\nabab\n") == Some(output.len()));
            stream.extend(after);
            let mut filter = Filter::new(token);
            let (mut passed, mut rest, mut cuts) = (Vec::new(), &stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (part, next) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                passed.extend(filter.push(part));
                rest = next;
            }
            prop_assert!(filter.ended());
            prop_assert_eq!(passed, output);
        }
    }

    #[test]
    fn nothing_is_held_back_without_need() {
        let mut filter = Filter::new("token");
        assert_eq!(filter.push(b"prompt> "), b"prompt> ");
        assert_eq!(filter.push(b"line\n"), b"line");
        assert_eq!(filter.push(b"tok"), b"");
        assert_eq!(filter.push(b"ay"), b"\ntokay");
    }
}
