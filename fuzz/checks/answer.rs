//! An upstream's message as the answer to the question that it repeats: taken in, looked at from
//! all sides, and given to clients of all kinds.

use culvert::dns::answer::{Answer, MAX_LINKS};
use culvert::dns::compose::{Composer, Given, ReplyForm, Ttl, kept_answer};
use culvert::dns::ede::Ede;
use culvert::dns::edns::Edns;
use culvert::dns::query::Query;
use culvert::dns::question::Question;
use culvert::dns::record::{Records, read_name};
use culvert::dns::{HEADER, rcode, rtype, text};

/// Checks one input.
pub fn check(octets: &[u8]) {
    let Some((switches, message)) = octets.split_first() else { return };
    let Some(question) = question(*switches, message) else { return };
    let Ok(answer) = Answer::receive(&question, message) else { return };
    look(&answer);
    // what is kept is an answer to the same question, and keeps what it says
    let again = Answer::receive(&question, answer.message()).expect("a kept answer is an answer");
    assert_eq!(again.message(), answer.message());
    assert_eq!(again.link_count(), answer.link_count());
    // the upper bits of the code went with the OPT record
    if answer.rcode() == again.rcode() {
        assert_eq!(again.ttl(), answer.ttl());
        assert_eq!(again.negative(), answer.negative());
    } else {
        assert!(answer.ttl().is_none() && !answer.negative(), "such a code keeps nothing");
    }
    give(*switches, &question, &answer);
}

/// The question that the message repeats, so that it gets past the door.
fn question(switches: u8, message: &[u8]) -> Option<Question> {
    let (name, end) = read_name(message, HEADER).ok()?;
    let rtype = message.get(end..end + 2)?;
    let mut question = Question::plain(name, u16::from_be_bytes([rtype[0], rtype[1]]));
    question.dnssec_ok = switches & 1 != 0;
    question.checking_disabled = switches & 2 != 0;
    Some(question)
}

/// All that anybody asks an answer.
fn look(answer: &Answer) {
    assert!(answer.link_count() <= MAX_LINKS);
    assert!(answer.question_end() <= answer.message().len());
    assert!(answer.weight() >= answer.message().len());
    assert!(answer.ttl().is_none_or(|ttl| ttl <= i32::MAX as u32));
    let _ = (answer.truncated(), answer.authentic(), answer.negative());
    for stage in 0..=answer.link_count() + 1 {
        let _ = answer.is_signed_at(stage);
        let records = answer.link_records(stage).count();
        assert_eq!(answer.link_target(stage).is_some(), stage < answer.link_count());
        assert_eq!(records > 0, stage < answer.link_count());
    }
    let mut seen = 0_usize;
    answer.each_address(true, &mut |_| seen += 1);
    let mut without = 0_usize;
    answer.each_address(false, &mut |_| without += 1);
    assert!(without <= seen && seen <= answer.message().len());
    answer.each_server(&mut |name| assert!(!name.as_wire().is_empty()));
    if let Some(ede) = answer.ede() {
        assert!(ede.text.chars().count() <= 128);
    }
    for record in answer.records() {
        assert_ne!(record.rtype, rtype::OPT, "the OPT record is hop by hop");
        let line = text::record(answer.message(), &record, record.ttl);
        assert!(line.chars().all(|c| !c.is_control()));
    }
}

/// The answer as it goes to clients, over UDP and TCP, with EDNS and without.
fn give(switches: u8, question: &Question, answer: &Answer) {
    let mut query = Query::blank();
    query.set(&packet(question)).expect("a plain query is one");
    query.question = *question;
    let payloads = [512, 1_232, 4_096];
    let payload = payloads[usize::from(switches >> 2) % payloads.len()];
    for edns in [false, true] {
        query.edns =
            edns.then_some(Edns::from_fields(payload, u32::from(question.dnssec_ok) << 15));
        for form in [ReplyForm::udp(Some(&query), 1_232), ReplyForm::stream(1_232)] {
            for (ede, ttl) in [
                (None, Ttl::Fixed(30)),
                (
                    Some(Ede::new(3, "stale, because the upstream does not answer")),
                    Ttl::Aged { elapsed: 7, min: 1, max: 86_400 },
                ),
            ] {
                let mut reply = vec![0; form.limit.max(512)];
                let given = Given { ttl, may_be_authentic: switches & 16 != 0, ede };
                let len = kept_answer(&mut reply, &query, form, answer, given);
                whole(&reply[..len], form, answer.question_end());
            }
            copied(&query, form, answer);
        }
    }
}

/// All records in a reply of our own, names written out.
fn copied(query: &Query, form: ReplyForm, answer: &Answer) {
    let mut reply = vec![0; form.limit.max(512)];
    let mut out = Composer::reply(&mut reply, query, form, rcode::NOERROR, None);
    for record in answer.records() {
        out.copy_record(answer.message(), &record, record.ttl);
    }
    let len = out.finish();
    whole(&reply[..len], form, answer.question_end());
}

/// The reply fits and can be walked to its end.
fn whole(reply: &[u8], form: ReplyForm, question_end: usize) {
    assert!(reply.len() <= form.limit, "{} octets of {}", reply.len(), form.limit);
    assert_eq!(reply[2] & 0x80, 0x80, "a reply says that it is one");
    let mut records = Records::new(reply, question_end);
    assert!(records.by_ref().all(|record| record.is_ok()), "{reply:02x?}");
    assert_eq!(records.position(), reply.len(), "octets behind the last record");
}

/// A query for the question, without EDNS.
fn packet(question: &Question) -> Vec<u8> {
    let mut packet = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    packet.extend(question.name.as_wire());
    packet.extend([0, 1, 0, 1]);
    packet
}
